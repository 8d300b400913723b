/// HTML as it is written: tags match by construction, and whatever is not a tag is escaped.
#[derive(Default)]
pub(super) struct Markup(String);

/// The attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Markup {
    /// An element, with what `inside` writes.
    pub(super) fn element(&mut self, tag: &'static str, attributes: Attributes<'_>, inside: impl FnOnce(&mut Self)) {
        self.open(tag, attributes);
        self.0.push('>');
        inside(self);
        self.0.push_str(&format!("</{tag}>\n"));
    }

    /// An element with text in it.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>, text: &str) {
        self.element(tag, attributes, |markup| markup.text(text));
    }

    /// An element without anything in it.
    pub(super) fn empty(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.open(tag, attributes);
        self.0.push_str(" />\n");
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Other control characters are allowed nowhere in a page.
                other if other.is_control() && !matches!(other, '\n' | '\t') => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
    }

    /// The whole page.
    pub(super) fn page(self) -> String {
        format!("<!DOCTYPE html>\n{}", self.0)
    }

    fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.0.push_str(&format!("<{tag}"));
        for (name, value) in attributes {
            self.0.push_str(&format!(" {name}=\""));
            self.text(value);
            self.0.push('"');
        }
    }
}
