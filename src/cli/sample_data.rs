//! `segbundle sample-data`: a set of CT-like phantoms with labels.
