//! `setu config import`: coturn's `turnserver.conf` as a `turn.toml`.

use std::path::Path;

use super::host::Host;
use super::resolve::resolve;
use super::source::Source;
use coturn::Coturn;
use draft::{Draft, printable};
use lines::{Line, uncommented, yes_or_no};
use table::find;

mod access;
mod addresses;
mod coturn;
mod draft;
mod external;
mod lines;
mod ranges;
mod rest;
mod table;

pub use table::{Fate, KEYS, Key, Takes};

/// A configuration of coturn's in our terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A `turn.toml`. What has no counterpart in it is a comment.
    pub toml: String,
    /// A line for each thing that matters for safety or connectivity and could not be carried over.
    pub lost: Vec<String>,
    /// Why it does not load on this machine, of things that another one may have: addresses, the certificate.
    pub missing: Option<String>,
}

/// Converts `text`, the contents of a `turnserver.conf` that lies in `folder`. What comes out loads on this machine,
/// unless something is `missing`, or the last of what is `lost` says why it loads nowhere.
#[must_use]
pub fn import(text: &[u8], folder: &Path) -> Imported {
    let host = Host::read();
    let has_v6 = host.interfaces.iter().any(|own| own.ip.is_ipv6());
    let mut draft = Draft::default();
    let coturn = read(lines::parse(text), &mut draft);
    addresses::convert(&coturn, has_v6, &mut draft);
    access::convert(&coturn, &mut draft);
    rest::convert(&coturn, folder, &mut draft);
    let complaint = |text: &str, host: &Host| {
        let loaded = Source::of_text(text).and_then(|source| resolve(&source, host));
        loaded.err().map(|error| error.to_string())
    };
    // One without a list of its addresses takes any for its own.
    let elsewhere = Host::default();
    if let Some(error) = complaint(&draft.without(&FILES).to_toml(), &elsewhere) {
        draft
            .lost
            .push(format!("what was made does not load: {error}"));
    } else {
        draft.missing = complaint(&draft.to_toml(), &host);
    }
    Imported {
        toml: draft.to_toml(),
        lost: draft.lost,
        missing: draft.missing,
    }
}

/// The keys whose files may come later.
const FILES: [&str; 2] = ["tls_cert_file", "tls_key_file"];

/// The lines that ask for something; what becomes of the others is told.
fn read(lines: Vec<Line>, draft: &mut Draft) -> Coturn {
    let mut asked = Vec::new();
    for mut line in lines {
        let Some(key) = find(&line.name) else {
            draft.lose(&line, "unknown key");
            continue;
        };
        match key.takes {
            Takes::Flag | Takes::Number | Takes::Text => {
                line.value = uncommented(&line.value).to_owned();
            }
            // A password may hold anything.
            Takes::Secret => {}
        }
        let shown = printable(&line.value);
        let is_asked = match key.takes {
            Takes::Flag => yes_or_no(&line.value),
            Takes::Number => line.value.parse::<u32>().is_ok().then_some(true),
            Takes::Text | Takes::Secret => (!line.value.is_empty()).then_some(true),
        };
        match is_asked {
            // What is not asked for is as if it were not there.
            Some(false) => {}
            Some(true) => {
                tell(&line, key.fate, draft);
                asked.push(line);
            }
            None => draft.lose(&line, &format!("{shown:?} can't be read")),
        }
    }
    Coturn::new(asked)
}

fn tell(line: &Line, fate: Fate, draft: &mut Draft) {
    match fate {
        // The rest tells of these, key by key.
        Fate::Becomes(..) => {}
        Fate::Itself(why) => draft.leave(line, why),
        Fate::Dropped(why) => draft.drop(line, why),
        Fate::Lost(why) => draft.lose(line, why),
    }
}
