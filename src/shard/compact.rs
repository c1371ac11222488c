//! Numbers stored in half of their bytes.
//!
//! Orders, versions and sequences can go up to 2^53, but nearly all are below 2^32. There are many
//! millions of them, and a list reads them from end to end. So a value whose numbers are small is
//! stored in a short form. Any other value is stored whole in a separate allocation, which costs
//! its size and a wait for memory.

/// A value that has a short form if its numbers are small.
pub trait Compact: Copy {
    /// The type of the short form.
    type Short: Copy;

    /// The short form; None if one of the numbers does not fit.
    fn shorten(self) -> Option<Self::Short>;

    /// The value of a short form.
    fn restore(short: Self::Short) -> Self;
}

/// A value in its short form, or whole.
#[derive(Debug, Clone)]
pub enum Packed<T: Compact> {
    /// The short form, in nearly all cases.
    Short(T::Short),
    /// The value itself, because one of the numbers does not fit.
    Whole(Box<T>),
}

impl<T: Compact> From<T> for Packed<T> {
    fn from(value: T) -> Self {
        value.shorten().map_or_else(|| Self::Whole(Box::new(value)), Self::Short)
    }
}

impl<T: Compact> Packed<T> {
    /// A copy of the value. The compiler leaves out the fields that the caller does not use.
    #[inline(always)]
    pub fn get(&self) -> T {
        match self {
            Self::Short(short) => T::restore(*short),
            Self::Whole(value) => **value,
        }
    }

    /// Changes the value, and chooses its form anew.
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
