//! Which worker an engine is: what it names may turn up at another one, and says whose it is.

/// One worker of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its number, from 0.
    pub number: u32,
    /// How many there are; at least 1.
    pub of: u32,
}

impl Share {
    /// The only worker.
    pub const ALONE: Self = Self { number: 0, of: 1 };

    /// A number that says whose it is, and is otherwise as `random` as its argument.
    #[must_use]
    pub fn mark(self, random: u32) -> u32 {
        random % (u32::MAX / self.of) * self.of + self.number
    }

    /// The worker that marked this number; any number names one.
    #[must_use]
    pub fn owner_of(self, marked: u32) -> u32 {
        marked % self.of
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_back_to_its_worker() {
        for of in [1, 2, 3, 7, 256] {
            for number in [0, of / 2, of - 1] {
                let share = Share { number, of };
                for random in [0, 1, 0xDEAD_BEEF, u32::MAX - 1, u32::MAX] {
                    assert_eq!(
                        share.owner_of(share.mark(random)),
                        number,
                        "{number} of {of}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_lone_worker_takes_nothing_from_the_randomness() {
        assert_eq!(Share::ALONE.mark(0xDEAD_BEEF), 0xDEAD_BEEF);
    }
}
