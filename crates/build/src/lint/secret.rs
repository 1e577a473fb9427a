// SPDX-License-Identifier: Apache-2.0
//! Which names of variables sound like secrets.

const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// With one of these words in it, it is about a secret rather than one.
const ABOUT: [&str; 3] = ["public", "file", "version"];

/// Whether one of the words between `_` says so.
pub(crate) fn is_secret(name: &str) -> bool {
    let has =
        |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)));
    has(&SECRET) && !has(&ABOUT)
}
