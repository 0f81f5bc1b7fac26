//! What one who watches wants to see.

use serde::Deserialize;

use crate::http::problem::Problem;
use crate::ident::SessionId;
use crate::signaling::view::SessionView;

/// The query of `GET /api/live`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::http) struct Wanted {
    /// Sessions and participants whose id or name has this in it; of allocations, their user's.
    pub(super) search: String,
    pub(super) sort: Sort,
    /// How many sessions come before the page.
    pub(super) offset: usize,
    /// The session to be shown with all that is known of it.
    pub(super) session: Option<String>,
    /// Whether the allocations are to be listed.
    pub(super) allocations: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) enum Sort {
    #[default]
    Name,
    /// The largest first.
    People,
}

/// Sessions on a page.
pub(super) const PAGE: usize = 50;
const SEARCH_BYTES_MAX: usize = 256;

impl Wanted {
    /// The same, in bounds.
    pub(super) fn bounded(mut self) -> Result<Self, Problem> {
        if self.search.len() > SEARCH_BYTES_MAX {
            return Err(Problem::bad_request(
                "INVALID_PARAMETERS",
                "search is too long",
            ));
        }
        self.search = self.search.trim().to_lowercase();
        Ok(self)
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
            .as_deref()
            .and_then(|id| SessionId::parse(id).ok())
    }

    /// The page of `sessions`, which are in the order of their names, and how many match at all.
    pub(super) fn page<'s>(&self, sessions: &'s [SessionView]) -> (usize, Vec<&'s SessionView>) {
        let mut found: Vec<_> = sessions
            .iter()
            .filter(|session| self.matches(session))
            .collect();
        let matching = found.len();
        match self.sort {
            Sort::Name => {}
            Sort::People => {
                found.sort_by_key(|session| std::cmp::Reverse(session.participants.len()))
            }
        }
        // Sessions end while somebody turns pages: the last page there is.
        let last = matching.saturating_sub(1) / PAGE * PAGE;
        let page = found.into_iter().skip(self.offset.min(last)).take(PAGE);
        (matching, page.collect())
    }

    fn matches(&self, session: &SessionView) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.search);
        self.search.is_empty()
            || has(session.id.as_str())
            || session
                .participants
                .iter()
                .any(|who| has(who.id.as_str()) || has(&who.name))
    }
}

#[cfg(test)]
mod tests {
    use crate::ident::ParticipantId;
    use crate::signaling::view::ParticipantView;

    use super::*;

    #[test]
    fn a_page_is_bounded_and_there_is_always_one() {
        let sessions: Vec<_> = (0..120)
            .map(|number| session(&format!("s{number:03}"), &["a"]))
            .collect();
        let cases = [
            (0, 50, "s000"),
            (50, 50, "s050"),
            (100, 20, "s100"),
            (5000, 20, "s100"),
        ];
        for (offset, length, first) in cases {
            let wanted = Wanted {
                offset,
                ..Wanted::default()
            };
            let (matching, page) = wanted.page(&sessions);
            assert_eq!((matching, page.len()), (120, length), "from {offset}");
            assert_eq!(page[0].id.as_str(), first);
        }
        assert_eq!(Wanted::default().page(&[]), (0, vec![]));
    }

    #[test]
    fn sessions_are_found_by_their_own_name_and_by_their_peoples() {
        let sessions = [
            session("Reading", &["asha"]),
            session("standup", &["Ben", "Chitra"]),
        ];
        let cases = [("READ", 1), ("ben", 1), ("a", 2), ("nobody", 0), ("", 2)];
        for (search, expected) in cases {
            let wanted = Wanted {
                search: search.to_owned(),
                ..Wanted::default()
            };
            let (matching, _) = wanted.bounded().unwrap().page(&sessions);
            assert_eq!(matching, expected, "{search}");
        }
        let wanted = Wanted {
            sort: Sort::People,
            ..Wanted::default()
        };
        assert_eq!(wanted.page(&sessions).1[0].id.as_str(), "standup");
        let long = Wanted {
            search: "x".repeat(300),
            ..Wanted::default()
        };
        assert!(long.bounded().is_err());
    }

    fn session(id: &str, people: &[&str]) -> SessionView {
        let participants = people.iter().map(|name| ParticipantView {
            id: ParticipantId::parse(name).unwrap(),
            name: (*name).into(),
            sockets: 1,
            nodes: Vec::new(),
            candidates: Default::default(),
        });
        SessionView {
            id: SessionId::parse(id).unwrap(),
            participants: participants.collect(),
            queue: Vec::new(),
            reader: None,
            verse: None,
            timer: None,
        }
    }
}
