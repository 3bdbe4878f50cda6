//! Who is told how far a long piece of work has come.

use std::fmt;

use super::Progress;

/// Somebody who is told, or nobody.
#[derive(Default)]
pub struct Watcher<'a>(Option<Box<dyn FnMut(Progress) + 'a>>);

impl<'a> Watcher<'a> {
    pub fn new(told: impl FnMut(Progress) + 'a) -> Self {
        Self(Some(Box::new(told)))
    }

    pub fn tell(&mut self, progress: Progress) {
        if let Some(told) = &mut self.0 {
            told(progress);
        }
    }
}

impl fmt::Debug for Watcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "told" } else { "nobody" })
    }
}
