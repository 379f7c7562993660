//! A panic ends the work that it is in, and nothing beside it: it becomes words, which history and whoever waits are told.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// Does work; of a panic in it, the words. What was half done is dropped: its own guards put it right.
pub fn caught<T>(work: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    // Boxed: what is caught is large, and is part of every caller's future.
    let mut work = Box::pin(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(words(panic.as_ref()))),
        }
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    // Behind a backtick Rust quotes what was at hand.
    let text = text.split('`').next().unwrap_or_default().trim();
    format!(
        "a defect of backupd ended it: {text}; please report it with the log, where the place in the code is"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_words_without_what_was_at_hand() {
        let ended = caught(async {
            tokio::task::yield_now().await;
            panic!(
                "byte index 1 is not a char boundary; it is inside 'é' of `{}`",
                "secret"
            );
        })
        .await;
        let words = ended.unwrap_err();
        assert!(
            words.contains("not a char boundary") && !words.contains("secret"),
            "{words}"
        );
        assert_eq!(caught(async { 1 }).await, Ok(1));
    }
}
