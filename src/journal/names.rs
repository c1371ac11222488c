//! How a journal names its members.

/// How others know a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberNames {
    /// Its name among the members.
    pub member: String,
    /// The address of its TCP door, as clients reach it.
    pub tcp: String,
    /// The address of its admin listener.
    pub admin: String,
}

impl MemberNames {
    /// Whether both are of one member, as its address shows: two may have one name by mistake.
    #[must_use]
    pub fn are_of(&self, other: &Self) -> bool {
        self.tcp == other.tcp
    }
}

/// The active, as a claim or a base names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActiveMember {
    /// Number of the claim; 0 before the first one.
    pub epoch: u64,
    /// Names and addresses; empty before the first claim.
    pub names: MemberNames,
}
