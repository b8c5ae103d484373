//! Joins every family's table; the only file that knows all families.

use crate::component::Table;
use std::sync::OnceLock;

/// Everything that a config can name.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Table::default();
        crate::python::register(&mut table);
        crate::facades::register(&mut table);
        table.add_functions(crate::networks::FUNCTIONS);
        for family in [
            crate::networks::COMPONENTS,
            crate::inferers::COMPONENTS,
            crate::losses::COMPONENTS,
            crate::metrics::COMPONENTS,
            crate::optim::COMPONENTS,
            crate::transforms::COMPONENTS,
            crate::data::COMPONENTS,
            crate::engines::COMPONENTS,
        ] {
            for component in family {
                table.add_component(component);
            }
        }
        table
    })
}
