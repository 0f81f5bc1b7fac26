//! coturn's syntax: `key=value` or `key value` on a line, `#` before comments, flags with or without a yes or no.

/// What stands on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    pub(super) name: String,
    /// Without the quotes around it.
    pub(super) value: String,
}

/// All lines that are neither blank nor comments. What is no UTF-8 is replaced.
pub(super) fn parse(text: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start_matches('\u{FEFF}');
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| one(at + 1, line)).collect()
}

/// A flag's yes or no; nothing is yes.
pub(super) fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "" | "1" | "on" | "yes" | "true" | "t" => Some(true),
        "0" | "off" | "no" | "false" | "f" => Some(false),
        _ => None,
    }
}

/// Without a comment behind it. coturn has none there, but reads numbers no further.
pub(super) fn uncommented(value: &str) -> &str {
    let hashes = value.match_indices('#').map(|(at, _)| at);
    let mut heads = hashes.map(|at| &value[..at]);
    let head = heads.find(|head| head.is_empty() || head.ends_with(char::is_whitespace));
    head.unwrap_or(value).trim_end()
}

fn one(number: usize, line: &str) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let is_between = |c: char| c == '=' || c.is_whitespace();
    let (name, value) = line.split_once(is_between).unwrap_or((line, ""));
    let value = value.trim_start_matches(is_between);
    let unquoted = value
        .strip_prefix('"')
        .map(|value| value.strip_suffix('"').unwrap_or(value));
    Some(Line {
        number,
        name: name.to_owned(),
        value: unquoted.unwrap_or(value).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_in_all_of_coturns_spellings() {
        let cases = [
            ("min-port=49152", Some(("min-port", "49152"))),
            ("min-port 49152", Some(("min-port", "49152"))),
            ("  min-port = 49152\r", Some(("min-port", "49152"))),
            ("verbose", Some(("verbose", ""))),
            ("cipher-list=\"DEFAULT\"", Some(("cipher-list", "DEFAULT"))),
            ("user=alice:a=b#c", Some(("user", "alice:a=b#c"))),
            ("# min-port=1", None),
            ("   ", None),
            ("=", Some(("", ""))),
        ];
        for (text, expected) in cases {
            let parsed = one(1, text);
            let parsed = parsed.as_ref();
            let parsed = parsed.map(|line| (line.name.as_str(), line.value.as_str()));
            assert_eq!(parsed, expected, "{text:?}");
        }
    }

    #[test]
    fn comments_behind_a_value_are_none_of_it() {
        let cases = [
            ("3478 # the usual", "3478"),
            ("# on", ""),
            ("a#b", "a#b"),
            ("a", "a"),
        ];
        for (value, expected) in cases {
            assert_eq!(uncommented(value), expected, "{value:?}");
        }
    }

    #[test]
    fn lines_are_counted_from_one_and_comments_too() {
        let numbers: Vec<_> = parse("\u{FEFF}# a\n\nverbose\nno-cli\né=1".as_bytes())
            .into_iter()
            .map(|line| line.number)
            .collect();
        assert_eq!(numbers, [3, 4, 5]);
    }
}
