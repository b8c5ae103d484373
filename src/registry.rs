//! The table of everything that a config can name; the only file that lists all component families.

use crate::component::Table;
use std::sync::OnceLock;

/// All Python functions and components, built on the first call.
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
