//! Whole outputs of commands, as `tests/cmd/*.trycmd` show them; `[..]` stands for what differs from run to run.
//! `TRYCMD=overwrite cargo test --release --test all commands` writes the present outputs into these files.

use crate::common::Bundle;
use segbundle::formats::nifti;
use std::path::Path;

#[test]
fn commands_print_what_their_snapshots_show() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let image = folder.join("bundle.in/images/s0000.nii.gz");
    let made = Bundle::new(1);
    let [image, made] = [image, made.path("images/s0000.nii.gz")].map(|path| nifti::read(path).unwrap());
    assert!(image.grid() == made.grid() && image.to_f32_vec().unwrap() == made.to_f32_vec().unwrap());
    trycmd::TestCases::new()
        .register_bin("segbundle", Path::new(env!("CARGO_BIN_EXE_segbundle")))
        .env("COLUMNS", "100")
        .case(folder.join("*.trycmd"))
        .run();
}
