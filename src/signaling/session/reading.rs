//! The reading: which verse, whose turn, who is next. Somebody has the turn whenever somebody waits for it: clients
//! learn that it is theirs from `currentReader` alone.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::ident::ParticipantId;

use super::json::Json;

/// What a session reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    verse: Option<Json>,
    reader: Option<ParticipantId>,
    queue: Vec<ParticipantId>,
}

impl Reading {
    /// The verse that is being read.
    #[must_use]
    pub fn verse(&self) -> Option<&Json> {
        self.verse.as_ref()
    }

    /// Whose turn it is.
    #[must_use]
    pub fn reader(&self) -> Option<&ParticipantId> {
        self.reader.as_ref()
    }

    /// Who waits, first come first.
    #[must_use]
    pub fn queue(&self) -> &[ParticipantId] {
        &self.queue
    }

    /// True when there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verse.is_none() && self.reader.is_none() && self.queue.is_empty()
    }

    /// `null` is no verse.
    pub(super) fn set_verse(&mut self, verse: Json) {
        self.verse = (!verse.is_null()).then_some(verse);
    }

    pub(super) fn set_reader(&mut self, reader: Option<ParticipantId>) {
        self.reader = reader;
        self.hand_on();
    }

    /// The reader gives up the turn for a place at the end; whoever else asks for it goes to the end too.
    pub(super) fn skip(&mut self, participant: &ParticipantId) {
        if !self.takes_part(participant) {
            return;
        }
        self.queue.retain(|other| other != participant);
        self.queue.push(participant.clone());
        if self.reader.as_ref() == Some(participant) {
            self.reader = None;
        }
        self.hand_on();
    }

    /// Each id counts once, at its first place. The reader stays if they still wait, else it is the first one's turn.
    pub(super) fn replace_queue(&mut self, queue: &[ParticipantId]) {
        let mut seen = HashSet::new();
        let first_places = queue.iter().filter(|id| seen.insert(*id));
        self.queue = first_places.cloned().collect();
        self.reader.take_if(|reader| !self.queue.contains(reader));
        self.hand_on();
    }

    /// Out of the queue, and out of turn. True if they had a part in it.
    pub(super) fn remove(&mut self, participant: &ParticipantId) -> bool {
        let took_part = self.takes_part(participant);
        self.queue.retain(|other| other != participant);
        self.reader.take_if(|reader| reader == participant);
        self.hand_on();
        took_part
    }

    fn takes_part(&self, participant: &ParticipantId) -> bool {
        self.reader.as_ref() == Some(participant) || self.queue.contains(participant)
    }

    fn hand_on(&mut self) {
        if self.reader.is_none() {
            self.reader = self.queue.first().cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round() {
        // (what happens, to whom, reader afterwards, queue afterwards), one after the other.
        let mut reading = Reading::default();
        reading.replace_queue(&ids("a b a c"));
        assert_eq!(seen(&reading), "a: a b c");
        type Act = fn(&mut Reading, &str);
        let finish: Act = |reading, id| {
            reading.remove(&one(id));
        };
        let skip: Act = |reading, id| reading.skip(&one(id));
        let start: Act = |reading, id| reading.set_reader(Some(one(id)));
        let queue: Act = |reading, list| reading.replace_queue(&ids(list));
        let story: &[(&str, Act, &str, &str)] = &[
            ("the reader skips", skip, "a", "b: b c a"),
            ("another skips", skip, "c", "b: b a c"),
            ("a stranger skips", skip, "z", "b: b a c"),
            ("the reader finishes", finish, "b", "a: a c"),
            ("another finishes", finish, "c", "a: a"),
            ("a newcomer starts out of turn", start, "d", "d: a"),
            ("and skips", skip, "d", "a: a d"),
            ("the reader stays while they wait", queue, "e a", "a: e a"),
            ("else it is the first one's turn", queue, "f e", "f: f e"),
            ("nobody waits", queue, "", "nobody:"),
            ("a lone reader", start, "g", "g:"),
            ("who skips waits for themselves", skip, "g", "g: g"),
            ("the last one finishes", finish, "g", "nobody:"),
        ];
        for (what, act, id, expected) in story {
            act(&mut reading, id);
            assert_eq!(seen(&reading), *expected, "{what}");
        }
    }

    #[test]
    fn nobody_has_the_turn_only_while_nobody_waits() {
        let mut reading = Reading::default();
        reading.replace_queue(&ids("a b"));
        reading.set_reader(None);
        assert_eq!(seen(&reading), "a: a b");
        assert!(reading.remove(&one("a")) && !reading.remove(&one("a")));
        assert_eq!(seen(&reading), "b: b");
    }

    fn seen(reading: &Reading) -> String {
        let reader = reading.reader().map_or("nobody", ParticipantId::as_str);
        let queue: String = reading.queue().iter().map(|id| format!(" {id}")).collect();
        format!("{reader}:{queue}")
    }

    fn ids(list: &str) -> Vec<ParticipantId> {
        list.split_whitespace().map(one).collect()
    }

    fn one(id: &str) -> ParticipantId {
        ParticipantId::parse(id).unwrap()
    }
}
