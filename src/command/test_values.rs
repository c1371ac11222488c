//! Draws valid commands and replies of every kind from a list of random choices, for tests. The
//! file of each command says how its structs are drawn.

use crate::limits::{IMPORT_COUNTER_MAX, INTEGER_MAX};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

/// A list of choices from which values are drawn. After its end every further choice is 0.
pub(crate) struct Choices<'a> {
    choices: std::slice::Iter<'a, u64>,
}

/// A type whose values tests can draw.
pub(crate) trait Draw {
    /// Draws a value that passes its check.
    fn draw(choices: &mut Choices<'_>) -> Self;
}

/// Implements [`Draw`] for structs. Each field is drawn by its type, or by the expression behind
/// `=`.
macro_rules! draw {
    ($($name:ident { $($field:ident $(= $by:expr)?),* $(,)? })+) => {
        $(impl $crate::command::test_values::Draw for $name {
            #[allow(unused_variables, reason = "a struct may have no field")]
            fn draw(choices: &mut $crate::command::test_values::Choices<'_>) -> Self {
                Self { $($field: draw!(@ choices $($by)?)),* }
            }
        })+
    };
    (@ $choices:ident) => { $choices.draw() };
    (@ $choices:ident $by:expr) => { $by(&mut *$choices) };
}

impl<'a> Choices<'a> {
    pub(crate) fn new(choices: &'a [u64]) -> Self {
        Self { choices: choices.iter() }
    }

    pub(super) fn draw<T: Draw>(&mut self) -> T {
        T::draw(self)
    }

    fn any(&mut self) -> u64 {
        self.choices.next().copied().unwrap_or(0)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(u16::draw(self)) % values.len()]
    }

    /// Draws an integer that is mostly small, and sometimes up to 2^53 - 1.
    fn integer(&mut self) -> u64 {
        let bits = self.below(54);
        self.any() & INTEGER_MAX & ((1 << bits) - 1)
    }

    /// Draws a version or a join order that `import` accepts.
    pub(super) fn counter(&mut self) -> Option<u64> {
        bool::draw(self).then(|| self.integer() % (IMPORT_COUNTER_MAX + 1))
    }

    /// Draws a digest in the form of an import's line: 16 hex digits.
    pub(super) fn digest(&mut self) -> Option<String> {
        bool::draw(self).then(|| format!("{:016x}", self.integer()))
    }

    fn id(&mut self) -> String {
        format!("i{}", String::draw(self))
    }
}

impl Draw for () {
    fn draw(_: &mut Choices<'_>) -> Self {}
}

impl<T: Draw> Draw for Option<T> {
    fn draw(choices: &mut Choices<'_>) -> Self {
        bool::draw(choices).then(|| choices.draw())
    }
}

impl<T: Draw> Draw for Vec<T> {
    fn draw(choices: &mut Choices<'_>) -> Self {
        let length = choices.below(20);
        (0..length).map(|_| choices.draw()).collect()
    }
}

impl<T: Draw> Draw for Box<T> {
    fn draw(choices: &mut Choices<'_>) -> Self {
        Self::new(choices.draw())
    }
}

/// Implements [`Draw`] by an expression for each type.
macro_rules! draw_each {
    ($($drawn:ty: |$choices:ident| $value:expr;)+) => {
        $(impl Draw for $drawn {
            fn draw($choices: &mut Choices<'_>) -> Self {
                $value
            }
        })+
    };
}

draw_each! {
    bool: |choices| choices.below(2) == 1;
    u16: |choices| u16::try_from(choices.below(1 << 16)).unwrap();
    // Arguments of this type are limits of pages, from 1 to 200.
    u32: |choices| u32::from(u16::draw(choices)) % 200 + 1;
    u64: |choices| choices.any();
    String: |choices| {
        let length = choices.below(40);
        (0..length)
            .filter_map(|_| char::from_u32(0x21 + u32::from(u16::draw(choices)) % 0x5000))
            .filter(|character| !character.is_control())
            .collect()
    };
    ChatId: |choices| ChatId::new(&choices.id()).unwrap();
    UserId: |choices| UserId::new(&choices.id()).unwrap();
    IdempotencyKey: |choices| IdempotencyKey::new(&choices.id()).unwrap();
    Sequence: |choices| Sequence::new(choices.integer()).unwrap();
    TimeMs: |choices| TimeMs::new(choices.integer()).unwrap();
    Flag: |choices| Flag(choices.draw());
    // A single chat must have exactly two members, so it is not drawn.
    ChatType: |choices| choices.one_of(&[ChatType::Group, ChatType::Official]);
    ChatStatus: |choices| choices.one_of(&[ChatStatus::Normal, ChatStatus::Disabled]);
}
