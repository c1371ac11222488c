//! Records and snapshots in each form of the disk format, in hexadecimal, one to a line.

pub const RECORDS_1: &str = include_str!("../golden/records-1.txt");
pub const RECORDS_2: &str = include_str!("../golden/records-2.txt");
pub const RECORDS_3: &str = include_str!("../golden/records-3.txt");
pub const RECORDS_4: &str = include_str!("../golden/records-4.txt");
/// As the fourth, but imported rows have the place that they were given.
pub const RECORDS_5: &str = include_str!("../golden/records-5.txt");
pub const SNAPSHOT_1: &str = include_str!("../golden/image-1.txt");
pub const SNAPSHOT_2: &str = include_str!("../golden/image-2.txt");
pub const SNAPSHOT_3: &str = include_str!("../golden/image-3.txt");
pub const SNAPSHOT_4: &str = include_str!("../golden/image-4.txt");
