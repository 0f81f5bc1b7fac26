//! How much the participants of a session relay, on all nodes together: a question in the log, which each of the other
//! nodes answers for itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::value::to_raw_value;
use tokio::{sync::mpsc, time::timeout};

use crate::clock::{Now, UnixMillis};
use crate::entropy;
use crate::ident::{ParticipantId, SessionId, UserId};
use crate::relay::engine::Usage;
use crate::store::log::Body;

use super::Signaling;
use super::service::Service;
use super::session::json::Json;

/// By participant; nothing of those who never relayed.
pub type Figures = HashMap<ParticipantId, Usage>;

/// What this node has asked and is not yet, or not wholly, answered.
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<HashMap<u64, mpsc::Sender<Figures>>>);

/// A question that waits for its answers; forgotten with it.
struct Question<'q> {
    number: u64,
    asked: &'q Questions,
    answers: mpsc::Receiver<Figures>,
}

impl Signaling {
    /// What the participants of a session relay, and have relayed, through all nodes that answer in time.
    pub async fn traffic(&self, session: &SessionId) -> Figures {
        let service = &self.service;
        let others = service.nodes().len();
        let is_alone = others == 0 || self.is_degraded();
        let log = service.store.log().filter(|_| !is_alone);
        let question = log.and_then(|log| {
            let question = service.questions.ask(entropy::number(), others)?;
            let (number, session) = (question.number, session.clone());
            let asked = Body::AskTraffic {
                question: number,
                session,
            };
            log.append(asked).then_some(question)
        });
        let mut sum = service.traffic_here(session).await;
        if let Some(mut question) = question {
            let all = async {
                for _ in 0..others {
                    add(&mut sum, question.answers.recv().await.unwrap_or_default());
                }
            };
            if timeout(ANSWERS_WITHIN, all).await.is_err() {
                tracing::debug!("not every node said in time what it relays");
            }
        }
        sum
    }
}

impl Service {
    /// Another node asked at `asked_at`. Who starts reads old questions too: nobody waits for their answers.
    pub(super) fn answer_traffic(
        self: &Arc<Self>,
        now: Now,
        asked_at: UnixMillis,
        question: u64,
        session: SessionId,
    ) {
        if now.unix.since(asked_at) > QUESTION_AGE_MAX {
            return;
        }
        let service = Arc::clone(self);
        tokio::spawn(async move {
            let figures = service.traffic_here(&session).await;
            if let (Some(log), Ok(figures)) = (service.store.log(), to_raw_value(&figures)) {
                let figures = Json::from(figures);
                // Whoever asked goes without where no more can wait.
                log.append(Body::Traffic { question, figures });
            }
        });
    }

    async fn traffic_here(&self, session: &SessionId) -> Figures {
        let present = self.store.view(session, |state| {
            let present = state.presence();
            present.map(|(who, _)| who.clone()).collect::<Vec<_>>()
        });
        let users = present.iter().map(UserId::of).collect();
        let mut usage = self.relay.usage_of(users).await;
        let figures = present.into_iter().filter_map(|who| {
            let figures = usage.remove(&UserId::of(&who))?;
            Some((who, figures))
        });
        figures.collect()
    }
}

impl Questions {
    /// Room for the answers of `others`; none where too many questions wait already.
    fn ask(&self, number: u64, others: usize) -> Option<Question<'_>> {
        let mut asked = self.asked();
        if asked.len() >= QUESTIONS_MAX {
            return None;
        }
        let (answer, answers) = mpsc::channel(others);
        asked.insert(number, answer);
        Some(Question {
            number,
            asked: self,
            answers,
        })
    }

    /// Another node has answered; perhaps too late, or what an earlier process asked.
    pub(super) fn answer(&self, number: u64, figures: &Json) {
        let asked = self.asked();
        let Some(asker) = asked.get(&number) else {
            return;
        };
        match serde_json::from_str(figures.raw().get()) {
            // More than were expected are nobody's loss.
            Ok(figures) => drop(asker.try_send(figures)),
            Err(error) => tracing::warn!(%error, "a node's traffic cannot be read"),
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Figures>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.asked.asked().remove(&self.number);
    }
}

fn add(sum: &mut Figures, more: Figures) {
    for (participant, usage) in more {
        *sum.entry(participant).or_default() += usage;
    }
}

const ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// Questions at a time.
const QUESTIONS_MAX: usize = 256;
/// Longer than anybody waits, by as much as clocks may differ.
const QUESTION_AGE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_reach_who_asked_and_nobody_else() {
        let questions = Questions::default();
        let mut one = questions.ask(1, 2).unwrap();
        let mut two = questions.ask(2, 1).unwrap();
        let figures = r#"{"alice":{"allocations":1,"toPeers":{"packets":2,"bytes":30},"toClients":{"packets":0,"bytes":0}}}"#;
        for (number, text) in [(1, figures), (1, "{}"), (1, "{}"), (2, "[]"), (3, "{}")] {
            questions.answer(number, &serde_json::from_str(text).unwrap());
        }
        let alice = ParticipantId::parse("alice").unwrap();
        assert_eq!(one.answers.try_recv().unwrap()[&alice].to_peers.bytes, 30);
        assert!(one.answers.try_recv().unwrap().is_empty());
        assert!(one.answers.try_recv().is_err(), "as many as were expected");
        assert!(
            two.answers.try_recv().is_err(),
            "what cannot be read is none"
        );
    }

    #[test]
    fn questions_are_bounded_and_forgotten_with_who_asked() {
        let questions = Questions::default();
        let asked: Vec<_> = (0..QUESTIONS_MAX as u64)
            .map(|number| questions.ask(number, 1).unwrap())
            .collect();
        assert!(questions.ask(u64::MAX, 1).is_none());
        drop(asked);
        assert!(questions.asked().is_empty());
    }

    #[test]
    fn what_nodes_relayed_is_added_up() {
        let alice = ParticipantId::parse("alice").unwrap();
        let usage = Usage {
            allocations: 1,
            ..Usage::default()
        };
        let mut sum = Figures::new();
        add(&mut sum, Figures::from([(alice.clone(), usage)]));
        add(&mut sum, Figures::from([(alice.clone(), usage)]));
        assert_eq!(sum[&alice].allocations, 2);
    }
}
