//! What to do to see a failure again that chance has led to.

use crate::dice::seed;

/// While this lives, a panic is followed by a recipe.
pub struct Seeded(&'static str);

impl Seeded {
    pub fn new(suite: &'static str) -> Self {
        Self(suite)
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see it again: OTTLA_SEED={} .ci/suites SIZE {}", seed(), self.0);
        }
    }
}
