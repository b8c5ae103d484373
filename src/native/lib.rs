pub mod zeroed;
