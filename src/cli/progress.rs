//! A progress bar on stderr, if that is a terminal. Without the feature `bench` there is none.

#[cfg(feature = "bench")]
use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar, or a spinner if the length of the work is unknown.
#[derive(Debug)]
pub struct Progress {
    #[cfg(feature = "bench")]
    bar: ProgressBar,
}

#[cfg(feature = "bench")]
impl Progress {
    /// Makes a bar that is full at `length`; without one it only spins. The template is one of
    /// [`indicatif`].
    pub fn new(length: Option<u64>, template: &str) -> Self {
        let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style = ProgressStyle::with_template(template);
        Self { bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())) }
    }

    /// A progress bar that is not shown.
    #[cfg(feature = "internals")]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Moves the bar forward by `count`.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// Moves the bar to `position`.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Sets the text beside the progress bar.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Removes the progress bar from the terminal.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(not(feature = "bench"))]
#[expect(clippy::unused_self, reason = "the same methods, which do nothing")]
impl Progress {
    pub fn new(_: Option<u64>, _: &str) -> Self {
        Self {}
    }

    #[cfg(feature = "internals")]
    pub fn hidden() -> Self {
        Self {}
    }

    pub fn add(&self, _: u64) {}

    pub fn say(&self, _: String) {}

    pub fn clear(&self) {}
}
