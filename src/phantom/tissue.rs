//! Tissues: Hounsfield units, and the enhancement by a contrast agent.
//!
//! Values are rounded textbook values for CT at 120 kV; organs of the same tissue share them, as in real CT.

/// Interior of a structure, in HU and mm.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    pub core_hu: f32,
    /// Thickness and HU of the layer below the surface: cortex, wall, skin.
    pub rind_mm: f32,
    pub rind_hu: f32,
    /// Amplitude and size of lighter and darker regions.
    pub mottle_hu: f32,
    pub mottle_mm: f32,
    /// Distance between thin septa of fat; 0 for none.
    pub septa_mm: f32,
    /// Sedimentation (dependent density): HU per mm towards the back.
    pub sink_hu_per_mm: f32,
    /// Gas in front of this y, inside the rind.
    pub gas_from_y: Option<f32>,
}

pub const AIR_HU: f32 = -1000.0;

pub fn plain(core_hu: f32) -> Paint {
    Paint {
        core_hu,
        rind_mm: 0.0,
        rind_hu: 0.0,
        mottle_hu: 0.0,
        mottle_mm: 1.0,
        septa_mm: 0.0,
        sink_hu_per_mm: 0.0,
        gas_from_y: None,
    }
}

impl Paint {
    pub fn rind(self, rind_mm: f32, rind_hu: f32) -> Paint {
        Paint { rind_mm, rind_hu, ..self }
    }
    pub fn mottled(self, mottle_hu: f32, mottle_mm: f32) -> Paint {
        Paint { mottle_hu, mottle_mm, ..self }
    }
    pub fn gas_from(self, y: f32) -> Paint {
        Paint { gas_from_y: Some(y), ..self }
    }
}

/// Tissue values of one examination.
#[derive(Debug, Clone, Copy)]
pub struct Shades {
    /// Arterial and venous enhancement: 0 without contrast agent, 1 in the full phase.
    pub arterial: f32,
    pub venous: f32,
    /// Relative bone density, about 1.
    pub bone: f32,
    /// HU reduction by fat in the liver.
    pub fatty_liver_hu: f32,
    /// HU offset of the lungs from -830, depending on inspiration.
    pub lung_hu: f32,
}

impl Shades {
    pub fn skin(&self) -> f32 {
        10.0
    }
    pub fn fat(&self) -> Paint {
        plain(-103.0).mottled(9.0, 9.0)
    }
    pub fn muscle(&self) -> Paint {
        plain(54.0 + 10.0 * self.venous).mottled(10.0, 5.0)
    }
    /// Muscle with septa of fat.
    pub fn loose_muscle(&self) -> Paint {
        Paint { septa_mm: 30.0, ..plain(54.0 + 10.0 * self.venous).mottled(12.0, 6.0) }
    }
    pub fn arterial_blood(&self) -> Paint {
        plain(42.0 + 250.0 * self.arterial + 105.0 * self.venous)
    }
    pub fn venous_blood(&self) -> Paint {
        plain(42.0 + 40.0 * self.arterial + 120.0 * self.venous)
    }
    pub fn portal_blood(&self) -> Paint {
        plain(42.0 + 50.0 * self.arterial + 130.0 * self.venous)
    }
    /// Blood in the right heart and the pulmonary arteries.
    pub fn lung_blood(&self) -> Paint {
        plain(42.0 + 190.0 * self.arterial + 110.0 * self.venous)
    }
    pub fn myocardium(&self) -> Paint {
        plain(48.0 + 60.0 * self.arterial + 55.0 * self.venous)
    }
    pub fn liver(&self) -> Paint {
        plain(58.0 + 18.0 * self.arterial + 55.0 * self.venous - self.fatty_liver_hu).mottled(7.0, 7.0)
    }
    pub fn spleen(&self) -> Paint {
        plain(50.0 + 75.0 * self.arterial + 70.0 * self.venous).mottled(5.0, 6.0)
    }
    pub fn kidney(&self) -> Paint {
        plain(32.0 + 45.0 * self.arterial + 130.0 * self.venous)
            .rind(8.0, 34.0 + 140.0 * self.arterial + 145.0 * self.venous)
    }
    pub fn pancreas(&self) -> Paint {
        plain(42.0 + 55.0 * self.arterial + 50.0 * self.venous).mottled(22.0, 5.0)
    }
    pub fn adrenal(&self) -> Paint {
        plain(30.0 + 30.0 * self.arterial + 40.0 * self.venous)
    }
    pub fn bile(&self) -> Paint {
        plain(9.0).rind(1.5, 40.0)
    }
    pub fn urine(&self) -> Paint {
        plain(6.0).rind(3.0, 40.0)
    }
    /// Stomach and bowel: a wall around the content.
    pub fn gut(&self, content_hu: f32) -> Paint {
        plain(content_hu).rind(2.5, 42.0 + 25.0 * self.arterial + 45.0 * self.venous).mottled(14.0, 8.0)
    }
    pub fn stool(&self) -> Paint {
        Paint { mottle_hu: 170.0, mottle_mm: 6.0, ..self.gut(-25.0) }
    }
    pub fn brain(&self) -> Paint {
        plain(31.0 + 3.0 * self.venous).rind(4.0, 39.0 + 3.0 * self.venous).mottled(3.0, 12.0)
    }
    pub fn liquor(&self) -> Paint {
        plain(8.0)
    }
    pub fn lung(&self) -> Paint {
        Paint { sink_hu_per_mm: 0.55, ..plain(-830.0 + self.lung_hu).mottled(28.0, 6.0) }
    }
    /// Bone: cortex around marrow.
    pub fn bone(&self, cortex_mm: f32) -> Paint {
        plain(175.0 * self.bone).rind(cortex_mm, 660.0 * self.bone).mottled(45.0, 4.0)
    }
    /// Long bones with a thick shaft cortex.
    pub fn long_bone(&self) -> Paint {
        plain(40.0 * self.bone).rind(6.0, 1250.0 * self.bone).mottled(30.0, 6.0)
    }
    pub fn skull(&self) -> Paint {
        plain(420.0 * self.bone).rind(2.0, 1150.0 * self.bone)
    }
    pub fn cartilage(&self) -> Paint {
        plain(105.0).mottled(25.0, 5.0)
    }
    pub fn disc(&self) -> Paint {
        plain(85.0)
    }
    pub fn air(&self) -> Paint {
        plain(AIR_HU)
    }
}
