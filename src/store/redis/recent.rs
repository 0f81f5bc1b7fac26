//! What Redis confirmed a moment ago: where it forgets that, nobody may have read it.

use std::collections::VecDeque;

use super::entry_id::EntryId;

/// This node's last entries, so many of them as may be unread.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<(EntryId, String)>,
    bytes: usize,
}

impl Recent {
    /// A batch is in the log, under these ids.
    pub(super) fn keep(&mut self, ids: &[EntryId], batch: Vec<String>) {
        for (id, entry) in ids.iter().zip(batch) {
            self.bytes += entry.len();
            self.entries.push_back((*id, entry));
            while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
                let Some((_, oldest)) = self.entries.pop_front() else {
                    break;
                };
                self.bytes -= oldest.len();
            }
        }
    }

    /// Takes those that come after the last one that was read; the others are forgotten.
    pub(super) fn unread(&mut self, read: EntryId) -> Vec<String> {
        self.bytes = 0;
        let entries = self.entries.drain(..).filter(|(id, _)| *id > read);
        entries.map(|(_, entry)| entry).collect()
    }
}

/// More than a burst that is still being read.
const ENTRIES_MAX: usize = 4096;
const BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_until_they_are_asked_for() {
        let mut recent = Recent::default();
        let id = |number: usize| EntryId(number as u64, 0);
        for number in 0..=ENTRIES_MAX {
            recent.keep(&[id(number)], vec![number.to_string()]);
        }
        assert_eq!(recent.entries.front().unwrap().1, "1");
        let unread = recent.unread(id(ENTRIES_MAX - 2));
        assert_eq!(unread, ["4095", "4096"]);
        assert_eq!(recent.unread(EntryId::START), [""; 0]);
        let large = "x".repeat(BYTES_MAX / 2);
        recent.keep(&[id(1), id(2), id(3)], vec![large; 3]);
        assert_eq!((recent.entries.len(), recent.bytes), (2, BYTES_MAX));
    }
}
