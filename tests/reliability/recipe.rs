//! How a failure is seen again: a line of words that names one case of a suite, and a variable that takes it.

use std::fmt::{self, Display};

/// The variable: with it one case is run, and nothing else.
const VARIABLE: &str = "OTTLA_REPLAY";

/// One case of a suite.
#[derive(Clone, Debug)]
pub struct Recipe {
    words: Vec<String>,
}

impl Recipe {
    /// The suite, and a word for each thing that its case depends on.
    pub fn new(suite: &str, words: &[&dyn Display]) -> Self {
        let words = words.iter().map(|word| word.to_string().replace(' ', "-"));
        Self { words: [suite.to_owned()].into_iter().chain(words).collect() }
    }

    /// The same with one word more.
    pub fn with(&self, word: impl Display) -> Self {
        Self { words: [self.words.as_slice(), &[word.to_string().replace(' ', "-")]].concat() }
    }

    /// Whether this case, or one of those that begin as it does, is to be run: the one that is asked for, or any.
    pub fn is_asked_for(&self) -> bool {
        asked_for().is_none_or(|asked| asked.iter().zip(&self.words).all(|(asked, word)| asked == word))
    }
}

/// Whether it is another suite's case that is asked for.
pub fn is_anothers(suite: &str) -> bool {
    asked_for().is_some_and(|asked| asked.first().is_none_or(|first| first != suite))
}

/// Whether one case is asked for.
pub fn is_one() -> bool {
    asked_for().is_some()
}

/// A number that stands in the case that is asked for, the suite counted as word 0.
pub fn number_at(place: usize) -> Option<usize> {
    asked_for()?.get(place)?.parse().ok()
}

fn asked_for() -> Option<Vec<String>> {
    let asked = std::env::var(VARIABLE).ok()?;
    Some(asked.split(':').map(str::to_owned).collect())
}

impl Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.words.first().map_or("", String::as_str);
        write!(f, "[again with {VARIABLE}={} .ci/suites quick {suite}]", self.words.join(":"))
    }
}
