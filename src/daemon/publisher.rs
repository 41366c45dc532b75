//! Answers to the questions of others, made by the loop: the report, and explanations. The loop makes at most
//! ten answers a second, whatever is asked. So a thousand questions cost it no more than ten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

/// Minimum time between two answers, whatever changes.
const PACE: Duration = Duration::from_millis(100);

/// Maximum number of questions on their way to the loop. Others wait.
const QUEUE: usize = 64;

/// A question, and the way of its answer.
#[derive(Debug)]
struct Pending<Q, A> {
    question: Q,
    answer: oneshot::Sender<Arc<A>>,
}

/// An answer that was made.
#[derive(Debug)]
struct Made<Q, A> {
    question: Q,
    answer: Arc<A>,
    at: Instant,
    /// Something has changed since.
    is_stale: bool,
}

/// The loop's end: publishes answers.
#[derive(Debug)]
pub struct Publisher<Q, A> {
    questions: mpsc::Receiver<Pending<Q, A>>,
    pending: VecDeque<Pending<Q, A>>,
    last: Option<Made<Q, A>>,
}

/// The askers' end.
#[derive(Debug)]
pub struct AnswerReader<Q, A> {
    questions: mpsc::Sender<Pending<Q, A>>,
}

/// A publisher that has published nothing yet, and a reader of it.
pub fn channel<Q, A>() -> (Publisher<Q, A>, AnswerReader<Q, A>) {
    let (asking, questions) = mpsc::channel(QUEUE);
    let publisher = Publisher { questions, pending: VecDeque::new(), last: None };
    (publisher, AnswerReader { questions: asking })
}

impl<Q: Clone + PartialEq, A> Publisher<Q, A> {
    /// Waits until somebody asks.
    pub async fn asked(&mut self) {
        match self.questions.recv().await {
            Some(pending) => self.pending.push_back(pending),
            None => std::future::pending().await,
        }
    }

    /// To be called when something may have changed.
    pub fn changed(&mut self) {
        if let Some(last) = &mut self.last {
            last.is_stale = true;
        }
    }

    /// When the next answer is due, if somebody waits for it.
    pub fn wake(&self) -> Option<Instant> {
        self.last.as_ref().filter(|_| !self.pending.is_empty()).map(|last| last.at + PACE)
    }

    /// Answers the oldest question and all that are the same: with the last answer if that is to the same
    /// question, fresh, and nothing has changed since; else with a new one, as soon as the pace allows. An
    /// answer becomes outdated, because some things end by the clock alone.
    pub fn answer(&mut self, now: Instant, make: impl FnOnce(&Q) -> Arc<A>) {
        while let Ok(pending) = self.questions.try_recv() {
            self.pending.push_back(pending);
        }
        self.pending.retain(|pending| !pending.answer.is_closed());
        let fresh = self.last.as_ref().filter(|last| now < last.at + PACE);
        if let Some(Made { question, answer, is_stale: false, .. }) = fresh {
            let (question, answer) = (question.clone(), Arc::clone(answer));
            self.send(&question, &answer);
        }
        let is_paced = self.last.as_ref().is_some_and(|last| now < last.at + PACE);
        let Some(oldest) = self.pending.front().filter(|_| !is_paced) else { return };
        let question = oldest.question.clone();
        let answer = make(&question);
        self.send(&question, &answer);
        self.last = Some(Made { question, answer, at: now, is_stale: false });
    }

    /// Sends an answer to everybody who asked this question.
    fn send(&mut self, question: &Q, answer: &Arc<A>) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.question == *question {
                // The asker may have gone.
                let _ = pending.answer.send(Arc::clone(answer));
            } else {
                self.pending.push_back(pending);
            }
        }
    }
}

impl<Q, A> Clone for AnswerReader<Q, A> {
    fn clone(&self) -> Self {
        AnswerReader { questions: self.questions.clone() }
    }
}

impl<Q, A> AnswerReader<Q, A> {
    /// The present answer to a question. `None` if the loop has ended.
    pub async fn ask(&self, question: Q) -> Option<Arc<A>> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Pending { question, answer }).await.ok()?;
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Reader = AnswerReader<u8, String>;

    fn ask(reader: &Reader, question: u8) -> tokio::task::JoinHandle<Option<Arc<String>>> {
        let reader = reader.clone();
        tokio::spawn(async move { reader.ask(question).await })
    }

    /// Asks, has the publisher answer at that time, and returns the answer.
    async fn answered(
        publisher: &mut Publisher<u8, String>,
        reader: &Reader,
        now: Instant,
        next: &str,
    ) -> Option<String> {
        let asker = ask(reader, 0);
        publisher.asked().await;
        publisher.answer(now, |_| Arc::new(next.to_owned()));
        match publisher.pending.is_empty() {
            true => Some(asker.await.unwrap()?.to_string()),
            false => None,
        }
    }

    #[tokio::test]
    async fn an_answer_is_made_again_when_it_is_old() {
        let (mut publisher, reader) = channel();
        let start = Instant::now();
        assert_eq!(answered(&mut publisher, &reader, start, "1").await.as_deref(), Some("1"));
        assert_eq!(answered(&mut publisher, &reader, start + PACE / 2, "2").await.as_deref(), Some("1"));
        // Something in it may have ended meanwhile, although nothing has happened.
        assert_eq!(answered(&mut publisher, &reader, start + PACE, "3").await.as_deref(), Some("3"));
    }

    #[tokio::test]
    async fn a_change_and_a_question_wait_for_the_pace() {
        let (mut publisher, reader) = channel();
        let start = Instant::now();
        answered(&mut publisher, &reader, start, "1").await;
        publisher.changed();
        assert_eq!(publisher.wake(), None, "nobody asks");
        assert_eq!(answered(&mut publisher, &reader, start + PACE / 2, "2").await, None);
        assert_eq!(publisher.wake(), Some(start + PACE));
        publisher.answer(start + PACE, |_| Arc::new("3".to_owned()));
        assert_eq!((publisher.wake(), publisher.pending.len()), (None, 0));
    }

    #[tokio::test]
    async fn different_questions_take_turns_and_equal_ones_share_an_answer() {
        let (mut publisher, reader) = channel();
        let start = Instant::now();
        let askers: Vec<_> = [1, 2, 1, 3].into_iter().map(|question| ask(&reader, question)).collect();
        publisher.asked().await;
        let mut made = Vec::new();
        for turn in 0..30 {
            let now = start + PACE / 10 * turn;
            publisher.answer(now, |question| {
                made.push((turn, *question));
                Arc::new(question.to_string())
            });
        }
        assert_eq!(made, [(0, 1), (10, 2), (20, 3)]);
        for (asker, answer) in askers.into_iter().zip(["1", "2", "1", "3"]) {
            assert_eq!(asker.await.unwrap().unwrap().as_str(), answer);
        }
    }

    #[tokio::test]
    async fn no_answer_is_made_if_nobody_asks_or_the_asker_has_gone() {
        let (mut publisher, reader) = channel::<u8, String>();
        publisher.answer(Instant::now(), |_| panic!("nobody asks"));
        let asker = ask(&reader, 1);
        publisher.asked().await;
        asker.abort();
        assert!(asker.await.unwrap_err().is_cancelled());
        publisher.answer(Instant::now(), |_| panic!("nobody waits"));
    }

    #[tokio::test]
    async fn a_question_to_a_loop_that_has_ended_gets_no_answer() {
        let (publisher, reader) = channel();
        let asker = ask(&reader, 1);
        tokio::task::yield_now().await;
        drop(publisher);
        assert!(asker.await.unwrap().is_none());
        assert!(reader.ask(1).await.is_none());
    }
}
