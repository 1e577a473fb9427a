// SPDX-License-Identifier: Apache-2.0
//! Just enough HTML: text that stays text, tables, and one frame around all pages.

/// Hand-made marks of two kinds: what is code here, and what others have written, escaped.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of this program's own. Takes literals only.
    pub(super) fn raw(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else.
    pub(super) fn text(mut self, text: &str) -> Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // No cursor keys, no text that runs the other way.
                _ if letter.is_control() && letter != '\n' => self.0.push('\u{fffd}'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                _ => self.0.push(letter),
            }
        }
        self
    }

    pub(super) fn add(mut self, other: &Self) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// A link within this site.
    pub(super) fn link(self, path: &str, words: &str) -> Self {
        self.raw("<a href=\"").text(path).raw("\">").text(words).raw("</a>")
    }

    pub(super) fn code(self, text: &str) -> Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    /// A table with its head; nothing where there is no row.
    pub(super) fn table(mut self, head: &[&'static str], rows: impl IntoIterator<Item = Vec<Html>>) -> Self {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return self.raw("<p class=\"none\">none</p>");
        }
        self = self.raw("<table><thead><tr>");
        for word in head {
            self = self.raw("<th>").text(word).raw("</th>");
        }
        self = self.raw("</tr></thead><tbody>");
        for row in rows {
            self = self.raw("<tr>");
            for cell in row {
                self = self.raw("<td>").add(&cell).raw("</td>");
            }
            self = self.raw("</tr>");
        }
        self.raw("</tbody></table>")
    }

    /// The whole document.
    pub(super) fn document(&self, title: &str) -> String {
        let title = Self::default().text(title).0;
        let head = format!(
            "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>"
        );
        let body =
            format!("<header><a href=\"/\">registry</a></header><main><h1>{title}</h1>{}</main>", self.0);
        format!(
            "<!doctype html><html lang=\"en\"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n"
        )
    }
}

impl From<&str> for Html {
    fn from(text: &str) -> Self {
        Self::default().text(text)
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Readable in the dark, on paper and on a telephone.
const STYLE: &str = ":root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem}\
header{font-weight:600;padding-bottom:.5rem;border-bottom:1px solid #8886}\
h1{font-size:1.4rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8883;vertical-align:top;overflow-wrap:anywhere}\
th{font-weight:600}code{font-size:.9em;white-space:pre-wrap}.none{opacity:.6}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_stays_text() {
        let page = Html::default().link("/ui/a\"b", "<script>alert('1')</script>&").document("</title>");
        assert!(!page.contains("<script>") && page.matches("</title>").count() == 1, "{page}");
        assert!(page.contains("/ui/a&quot;b") && page.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{page}");
        assert!(!Html::from("a\u{1b}[2Jb\u{202e}c").document("").contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn an_empty_table_says_so() {
        assert!(Html::default().table(&["a"], Vec::new()).document("").contains("none"));
    }
}
