//! Reading Rust: tokens, paths and attributes, as far as the rules need them.

use super::repository::is_test_file;

/// A word, a `::`, or any other single character of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub line: usize,
    pub text: &'a str,
}

/// A path of the code, taken out of its group: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug)]
pub struct CodePath<'a> {
    /// The number of the path's last token.
    pub at: usize,
    pub line: usize,
    pub segments: Vec<&'a str>,
}

impl<'a> CodePath<'a> {
    /// True if the segments of `name` stand in the path, one behind the other.
    pub fn holds(&self, name: &str) -> bool {
        let name: Vec<_> = name.split("::").collect();
        self.segments.windows(name.len()).any(|window| window == name)
    }

    /// The path without the `self::` that it may begin with.
    pub fn without_self(&self) -> &[&'a str] {
        self.segments.strip_prefix(&["self"]).unwrap_or(&self.segments)
    }
}

/// Every path of the code; a word that stands alone is one, too.
pub fn paths<'a>(tokens: &[Token<'a>]) -> Vec<CodePath<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if word_len(tokens[at].text) > 0 { read_path(tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

/// Reads the path, or the group of paths, that begins at `at`; returns the place behind it.
pub fn read_path<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    found: &mut Vec<CodePath<'a>>,
) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(token) if token.text == "{" => return read_group(tokens, at + 1, &segments, found),
            Some(token) if token.text == "*" || word_len(token.text) > 0 => segments.push(token.text),
            _ => break,
        }
        at += 1;
        if !begins(&tokens[at..], &["::"]) {
            break;
        }
        at += 1;
    }
    // A path that stops at its `::<` has this one as its last token.
    let last = at - 1;
    found.push(CodePath { at: last, line: tokens[last].line, segments });
    at
}

/// Reads the paths of a group up to its end; returns the place behind it.
pub fn read_group<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    found: &mut Vec<CodePath<'a>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        at = match token.text {
            "}" => return at + 1,
            "," => at + 1,
            "as" => at + 2,
            text if text == "{" || text == "*" || word_len(text) > 0 => read_path(tokens, at, prefix, found),
            _ => at + 1,
        };
    }
    at
}

/// How many inline modules stand around each token.
pub fn inline_depths(tokens: &[Token<'_>]) -> Vec<usize> {
    // For each open brace: is it a module's?
    let mut braces = Vec::new();
    let mut depths = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => _ = braces.pop(),
            _ => {}
        }
        depths.push(braces.iter().filter(|is_module| **is_module).count());
    }
    depths
}

/// The tokens of the library itself: nothing of a file of tests, nor of a `#[cfg(test)] mod … { … }`.
pub fn production<'a>(file: &str, tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut rest = if is_test_file(file) { &[] } else { tokens };
    while let Some((first, behind)) = rest.split_first() {
        rest = match test_module_len(rest) {
            0 => {
                kept.push(*first);
                behind
            }
            len => &rest[len..],
        };
    }
    kept
}

/// The length of the test module that `tokens` begin with; 0 if they do not.
pub fn test_module_len(tokens: &[Token<'_>]) -> usize {
    const ATTRIBUTE: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let body = ATTRIBUTE.len() + 1;
    if begins(tokens, &ATTRIBUTE) && tokens.get(body).is_some_and(|token| token.text == "{") {
        body + enclosed(&tokens[body..]).len()
    } else {
        0
    }
}

/// The parenthesis of each `allow(…)` and `expect(…)` in an attribute.
pub fn lint_exceptions<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut exceptions = Vec::new();
    for attribute in attributes(tokens) {
        for at in 0..attribute.len() {
            let rest = &attribute[at..];
            if begins(rest, &["allow", "("]) || begins(rest, &["expect", "("]) {
                exceptions.push(enclosed(&rest[1..]));
            }
        }
    }
    exceptions
}

/// Each attribute, from its bracket to the closing one.
pub fn attributes<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let bracket = |at| match &tokens[at..] {
        rest if begins(rest, &["#", "["]) => Some(at + 1),
        rest if begins(rest, &["#", "!", "["]) => Some(at + 2),
        _ => None,
    };
    (0..tokens.len()).filter_map(bracket).map(|at| enclosed(&tokens[at..])).collect()
}

/// The tokens from the bracket at the front to the one that closes it.
pub fn enclosed<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut open = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &tokens[..=at];
        }
    }
    tokens
}

pub fn begins(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

/// The tokens of the code; comments, strings and characters are passed over.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while !rest.is_empty() {
        let prose = prose_len(rest);
        let (piece, behind) = rest.split_at(if prose > 0 { prose } else { token_len(rest) });
        if prose == 0 {
            tokens.push(Token { line, text: piece });
        }
        line += piece.matches('\n').count();
        rest = behind;
    }
    tokens
}

pub fn token_len(rest: &str) -> usize {
    match word_len(rest) {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(0, char::len_utf8),
        len => len,
    }
}

/// The length of the white space, comment or literal that `rest` begins with; 0 if it begins with code.
pub fn prose_len(rest: &str) -> usize {
    if rest.starts_with(char::is_whitespace) {
        rest.len() - rest.trim_start().len()
    } else if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_len(rest)
    } else if rest.starts_with("b'") {
        character_len(&rest[1..]).map_or(0, |len| len + 1)
    } else if rest.starts_with('\'') {
        character_len(rest).unwrap_or(0)
    } else {
        string_len(rest).unwrap_or(0)
    }
}

/// Comments nest.
pub fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(next) = rest[at..].find(['/', '*']) {
        at += next;
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a character with its quotes; `None` for a lifetime.
pub fn character_len(rest: &str) -> Option<usize> {
    let first = rest.chars().nth(1)?;
    let behind = 1 + first.len_utf8();
    if first == '\\' {
        // What is escaped may be a quote.
        let escaped = rest[behind..].chars().next()?.len_utf8();
        Some(behind + escaped + rest[behind + escaped..].find('\'')? + 1)
    } else {
        rest[behind..].starts_with('\'').then_some(behind + 1)
    }
}

/// The length of a string of any kind, from its prefix on; `None` if there is none.
pub fn string_len(rest: &str) -> Option<usize> {
    let unprefixed = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let (body_len, body) = match unprefixed.strip_prefix('r') {
        None => (quoted_len(unprefixed)?, unprefixed),
        Some(raw) => (raw_len(raw)?, raw),
    };
    Some(rest.len() - body.len() + body_len)
}

pub fn quoted_len(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 2),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Some(rest.len())
}

pub fn raw_len(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches('#').strip_prefix('"')?;
    let opening = rest.len() - body.len();
    let closing = format!("\"{}", &rest[..opening - 1]);
    Some(body.find(&closing).map_or(rest.len(), |at| opening + at + closing.len()))
}

/// The length of the word or number that `rest` begins with; 0 if it begins with something else.
pub fn word_len(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The lines of a text, counted from 1.
pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}
