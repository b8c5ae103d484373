//! `segbundle verify`: everything that is wrong with a config, at once, without running it.
