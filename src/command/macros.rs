//! Makes the enums of commands, kinds and replies from the rows of the table, and reads the
//! columns. A wrong word in a row is a compiler error at that row.

use super::Owner;
use crate::types::IdempotencyKey;

/// Reads the table. Its columns are the enums of [`super::columns`]. In the last one, `Limit` and
/// `Items(field)` stand for a [`super::ReplySize`] that the argument `limit`, or the length of a
/// list, decides.
macro_rules! commands {
    ($(
        $(#[doc = $about:literal])+
        $code:literal $name:literal $file:ident::$variant:ident
            $class:ident $runs_at:ident $on_standby:ident $key:ident
            $size:ident $(($items:ident))?;
    )+) => {
        /// A command with its arguments; [`Self::check`] tests their limits.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[doc = $about])+ $variant($file::$variant)),+
        }

        /// The reply of a command that succeeded.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Reply {
            $(
                #[doc = concat!("Answer of `", $name, "`.")]
                $variant(<$file::$variant as Arguments>::Reply)
            ),+
        }

        /// Which command it is, without its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[doc = $about])+ $variant),+
        }

        impl Kind {
            /// Every command, in the order of the codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The number that names the command on the wire.
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The name of the command in JSON, metrics and log lines.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What the command does, in the words of its row.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+)),+ }
            }

            /// The schema of the command's arguments, and that of its reply.
            pub fn schemas(self) -> [RefOr<Schema>; 2] {
                match self { $(Self::$variant => schema::of::<$file::$variant>()),+ }
            }

            /// Adds the schemas of all types in the command's arguments and reply, by their names.
            pub fn add_schemas(self, schemas: &mut Vec<(String, RefOr<Schema>)>) {
                match self { $(Self::$variant => schema::add::<$file::$variant>(schemas)),+ }
            }

            /// The bounds of the command's arguments; see [`Arguments::BOUNDS`].
            pub const fn bounds(self) -> &'static [Bound] {
                match self { $(Self::$variant => <$file::$variant as Arguments>::BOUNDS),+ }
            }

            /// Whether the command may change data.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),+ }
            }

            /// Where the command runs.
            pub const fn runs_at(self) -> RunsAt {
                match self { $(Self::$variant => RunsAt::$runs_at),+ }
            }

            /// On what condition a standby serves the command.
            pub const fn on_standby(self) -> OnStandby {
                match self { $(Self::$variant => OnStandby::$on_standby),+ }
            }

            /// The owner of the command's idempotency key.
            pub const fn key_owner(self) -> KeyOwner {
                match self { $(Self::$variant => KeyOwner::$key),+ }
            }

            /// An example of the arguments; see [`Arguments::EXAMPLE`].
            pub const fn example(self) -> Option<&'static str> {
                match self { $(Self::$variant => <$file::$variant as Arguments>::EXAMPLE),+ }
            }

            /// Finds a command by its wire code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Finds a command by its name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// The position in [`Self::ALL`], for tables with one entry per command.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl Command {
            /// Which command it is, without its arguments.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }

            /// Whether the request has an idempotency key, so that a retry gets the first answer.
            pub fn is_keyed(&self) -> bool {
                match self { $(Self::$variant(arguments) => is_keyed!($key arguments)),+ }
            }

            /// Decodes the arguments of a command, without the checks of [`Self::check`].
            pub fn deserialize_arguments<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => $file::$variant::deserialize(deserializer).map(Self::$variant)),+
                }
            }

            /// Encodes only the arguments, without code and name of the command.
            pub fn serialize_arguments<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(arguments) => arguments.serialize(serializer)),+ }
            }

            /// Rejects arguments that are over a limit or contradict each other.
            pub fn check(&self) -> Result<(), Error> {
                match self { $(Self::$variant(arguments) => arguments.check()),+ }
            }

            /// Names the keys that the command uses; see [`Arguments::touch`].
            pub fn touch(&self, keys: &mut impl NamedKeys) {
                match self { $(Self::$variant(arguments) => arguments.touch(keys)),+ }
            }

            /// How large the reply to this request may become.
            pub fn reply_size(&self) -> ReplySize {
                match self { $(Self::$variant(arguments) => reply_size!(arguments $size $($items)?)),+ }
            }

            /// Sorts the command by the part of the node that runs it.
            pub fn sorted(self) -> Sorted {
                match self { $(Self::$variant(arguments) => sorted!($runs_at $variant arguments)),+ }
            }
        }

        impl Reply {
            /// Decodes the body of a reply to the command `kind`.
            pub fn deserialize_body<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$variant => {
                        <$file::$variant as Arguments>::Reply::deserialize(deserializer)
                            .map(Self::$variant)
                    }),+
                }
            }

            /// Number of items of the reply; 0 for a small reply.
            pub fn items(&self) -> usize {
                match self { $(Self::$variant(body) => of_items!(body $size count)),+ }
            }

            /// About how many bytes of memory the reply's items occupy; 0 for a small reply.
            pub fn bytes(&self) -> usize {
                match self { $(Self::$variant(body) => of_items!(body $size bytes)),+ }
            }

            /// The command that this is the reply to.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }
        }

        impl Serialize for Reply {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(body) => body.serialize(serializer)),+ }
            }
        }

        $(impl From<$file::$variant> for Command {
            fn from(arguments: $file::$variant) -> Self {
                Self::$variant(arguments)
            }
        })+

        #[cfg(test)]
        impl test_values::Choices<'_> {
            /// Draws a command of this kind that passes its check.
            pub(crate) fn command(&mut self, kind: Kind) -> Command {
                match kind { $(Kind::$variant => Command::$variant(self.draw())),+ }
            }

            /// Draws a reply to a command of this kind.
            pub(crate) fn reply(&mut self, kind: Kind) -> Reply {
                match kind { $(Kind::$variant => Reply::$variant(self.draw())),+ }
            }
        }

        by_place! { [$($file $variant $runs_at $key;)+] [] [] }
    };
}

/// The size of the reply to these arguments, by the column `reply`.
macro_rules! reply_size {
    ($arguments:ident Limit) => {
        ReplySize::of_limit($arguments.limit)
    };
    ($arguments:ident Items $items:ident) => {
        ReplySize::of_items($arguments.$items.len())
    };
    ($arguments:ident $size:ident) => {{
        let _ = $arguments;
        ReplySize::$size
    }};
}

/// A figure of a reply's items; 0 if the column `reply` says `Small`.
macro_rules! of_items {
    ($body:ident Small $figure:ident) => {{
        let _ = $body;
        0
    }};
    ($body:ident $size:ident $figure:ident) => {
        Items::$figure($body)
    };
}

/// Wraps a command for the part of the node that runs it, by the column `runs at`.
macro_rules! sorted {
    (Connection $variant:ident $arguments:ident) => {{
        let _ = $arguments;
        Sorted::Neither(Kind::$variant)
    }};
    (Worker $variant:ident $arguments:ident) => {{
        let _ = $arguments;
        Sorted::Neither(Kind::$variant)
    }};
    (Steps $variant:ident $arguments:ident) => {
        Sorted::Router(RouterCommand::$variant($arguments))
    };
    ($place:ident $variant:ident $arguments:ident) => {
        Sorted::Shard(ShardCommand::$variant($arguments))
    };
}

/// The [`super::Home`] of these arguments, by the column `runs at`, for a command that one shard
/// runs.
macro_rules! home {
    (User $arguments:ident) => {
        Home::User(&$arguments.user_id)
    };
    (Chat $arguments:ident) => {
        Home::Chat(&$arguments.chat_id)
    };
    (ChatThenRow $arguments:ident) => {
        Home::ChatThenRow(&$arguments.chat_id, &$arguments.user_id)
    };
    (ChatThenMembers $arguments:ident) => {
        Home::ChatThenMembers(&$arguments.chat_id)
    };
}

/// Whether these arguments have an idempotency key, by the column `key`.
macro_rules! is_keyed {
    (NoKey $arguments:ident) => {{
        let _ = $arguments;
        false
    }};
    ($owner:ident $arguments:ident) => {
        $arguments.idempotency_key.is_some()
    };
}

/// The owner and the idempotency key of these arguments, by the column `key`, for a command that
/// one shard runs.
macro_rules! owner_and_key {
    (NoKey $arguments:ident) => {{
        let _ = $arguments;
        None
    }};
    (User $arguments:ident) => {
        macros::with_owner(Owner::User(&$arguments.user_id), &$arguments.idempotency_key)
    };
    (Chat $arguments:ident) => {
        macros::with_owner(Owner::Chat(&$arguments.chat_id), &$arguments.idempotency_key)
    };
}

pub(super) fn with_owner<'a>(
    owner: Owner<'a>,
    key: &'a Option<IdempotencyKey>,
) -> Option<(Owner<'a>, &'a IdempotencyKey)> {
    key.as_ref().map(|key| (owner, key))
}

/// Sorts the rows by the column `runs at`. The first list has the rows not sorted yet, the second
/// those that one shard runs, the third those that the router leads.
macro_rules! by_place {
    ([$file:ident $variant:ident Connection $key:ident; $($left:tt)*] $shard:tt $router:tt) => {
        by_place! { [$($left)*] $shard $router }
    };
    ([$file:ident $variant:ident Worker $key:ident; $($left:tt)*] $shard:tt $router:tt) => {
        by_place! { [$($left)*] $shard $router }
    };
    ([$file:ident $variant:ident Steps $key:ident; $($left:tt)*] $shard:tt [$($router:tt)*]) => {
        by_place! { [$($left)*] $shard [$($router)* $file $variant;] }
    };
    ([$file:ident $variant:ident $place:ident $key:ident; $($left:tt)*] [$($shard:tt)*] $router:tt) => {
        by_place! { [$($left)*] [$($shard)* $file $variant $place $key;] $router }
    };
    ([] [$($file:ident $variant:ident $place:ident $key:ident;)+] [$($led_in:ident $led:ident;)+]) => {
        /// A command that one shard runs as a whole.
        #[derive(Debug, Clone, PartialEq)]
        pub enum ShardCommand {
            $(
                #[doc = concat!("See [`Command::", stringify!($variant), "`].")]
                $variant($file::$variant)
            ),+
        }

        impl ShardCommand {
            /// Which command it is, without its arguments.
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant),+ }
            }

            /// The shard that runs the command, and the rows that it reaches from there.
            pub fn home(&self) -> Home<'_> {
                match self { $(Self::$variant(arguments) => home!($place arguments)),+ }
            }

            /// The idempotency key, if the request has one, and its owner.
            pub fn owner_and_key(&self) -> Option<(Owner<'_>, &IdempotencyKey)> {
                match self { $(Self::$variant(arguments) => owner_and_key!($key arguments)),+ }
            }

            /// Encodes only the arguments, without code and name of the command.
            pub fn serialize_arguments<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(arguments) => arguments.serialize(serializer)),+ }
            }
        }

        $(impl From<$file::$variant> for ShardCommand {
            fn from(arguments: $file::$variant) -> Self {
                Self::$variant(arguments)
            }
        })+

        /// A command that the router leads through several shards or steps.
        #[derive(Debug, Clone, PartialEq)]
        pub enum RouterCommand {
            $(
                #[doc = concat!("See [`Command::", stringify!($led), "`].")]
                $led($led_in::$led)
            ),+
        }
    };
}
