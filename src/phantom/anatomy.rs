//! The whole body in painting order: later structures cover earlier ones.

use super::person::Person;
use super::structure::{Atlas, Structure};
use super::{abdomen, bowel, chest_wall, flesh, head, heart, limbs, lungs, muscles, spine, vessels};
use crate::error::Result;

/// Returns all structures of a person.
///
/// # Errors
/// A structure uses an unknown class name.
pub fn structures(person: &Person) -> Result<Vec<Structure>> {
    let mut atlas = Atlas::new(person);
    let atlas_ref = &mut atlas;
    flesh::body(atlas_ref, head::outline());
    muscles::muscles(atlas_ref);
    head::neck(atlas_ref);
    lungs::lungs(atlas_ref);
    bowel::small_bowel(atlas_ref);
    bowel::colon(atlas_ref);
    abdomen::kidneys(atlas_ref);
    bowel::duodenum(atlas_ref);
    abdomen::liver_and_spleen(atlas_ref);
    bowel::stomach(atlas_ref);
    abdomen::gallbladder(atlas_ref);
    abdomen::pancreas(atlas_ref);
    heart::heart(atlas_ref);
    vessels::vessels(atlas_ref);
    abdomen::adrenals(atlas_ref);
    heart::pulmonary_artery(atlas_ref);
    lungs::windpipe_and_gullet(atlas_ref);
    abdomen::bladder(atlas_ref);
    head::head(atlas_ref);
    chest_wall::breastbone(atlas_ref);
    limbs::shoulders(atlas_ref);
    chest_wall::ribs(atlas_ref);
    spine::sacrum(atlas_ref);
    limbs::pelvis(atlas_ref);
    spine::vertebrae(atlas_ref);
    atlas.finish()
}
