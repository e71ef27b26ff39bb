//! Failures: a bench stops with a message at the first one, so one type for all will do.

/// What a bench stops with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A result with any failure.
pub type Result<T> = std::result::Result<T, Failure>;

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts `cannot …` before the message.
    ///
    /// # Errors
    /// The same as before.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Failure>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| format!("cannot {}: {}", doing(), chain(error.into().as_ref())).into())
    }
}

/// The message of an error with those of its sources: a driver's own often says "db error" alone.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
