//! Numbers in half of their bytes.
//!
//! Orders, versions and sequences may go up to 2^53, but nearly all are below 2^32. A node holds
//! many millions of them, and a list reads them all. So a value with small numbers is stored in a
//! short form. Other values are stored whole in an allocation of their own, which costs its bytes
//! and a wait for memory.

/// A value that has a short form if all its numbers are small.
pub trait Compact: Copy {
    /// The type of the short form.
    type Short: Copy;

    /// The short form. None if a number does not fit.
    fn shorten(self) -> Option<Self::Short>;

    /// The value that a short form stands for.
    fn restore(short: Self::Short) -> Self;
}

/// A value, stored in its short form or whole.
#[derive(Debug, Clone)]
pub enum Packed<T: Compact> {
    /// The short form, which fits nearly always.
    Short(T::Short),
    /// The value itself, because a number does not fit the short form.
    Whole(Box<T>),
}

impl<T: Compact> From<T> for Packed<T> {
    fn from(value: T) -> Self {
        value.shorten().map_or_else(|| Self::Whole(Box::new(value)), Self::Short)
    }
}

impl<T: Compact> Packed<T> {
    /// A copy of the value. Inlined, so the compiler skips fields that the caller does not use.
    #[inline(always)]
    pub fn get(&self) -> T {
        match self {
            Self::Short(short) => T::restore(*short),
            Self::Whole(value) => **value,
        }
    }

    /// Changes the value, then chooses the form that the new value needs.
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
