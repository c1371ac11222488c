//! Numbers kept in half of their bytes.
//!
//! Orders, versions and sequences may go up to 2^53, and nearly all are below 2^32. There are many millions
//! of them, and a list reads them from end to end: so a value whose numbers are small is kept in a short form.
//! Any other is kept as it is, apart; it costs its own size and a wait for memory.

/// A value that has a short form where its numbers are small.
pub trait Compact: Copy {
    /// The short form.
    type Short: Copy;

    /// The short form; none if one of the numbers does not fit.
    fn shorten(self) -> Option<Self::Short>;

    /// What a short form stands for.
    fn restore(short: Self::Short) -> Self;
}

/// A value in its short form, or as it is.
#[derive(Debug, Clone)]
pub enum Packed<T: Compact> {
    /// Nearly always.
    Short(T::Short),
    /// One of the numbers does not fit.
    Whole(Box<T>),
}

impl<T: Compact> From<T> for Packed<T> {
    fn from(value: T) -> Self {
        value.shorten().map_or_else(|| Self::Whole(Box::new(value)), Self::Short)
    }
}

impl<T: Compact> Packed<T> {
    /// The value. What of it is not used is not computed either.
    #[inline(always)]
    pub fn get(&self) -> T {
        match self {
            Self::Short(short) => T::restore(*short),
            Self::Whole(value) => **value,
        }
    }

    /// Changes the value.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut T)) {
        let mut value = self.get();
        change(&mut value);
        *self = Self::from(value);
    }
}

impl<T: Compact + PartialEq> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}
