//! Tests of the roster: it must behave like a sorted map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Item {
    key: String,
    order: u64,
    value: u32,
}

impl Entry for Item {
    fn key(&self) -> &str {
        &self.key
    }
    fn order(&self) -> u64 {
        self.order
    }
    fn take(&mut self) -> Self {
        Self { key: std::mem::take(&mut self.key), ..*self }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u64),
    Remove(u16),
    Update(u16, u32),
    Append(u16),
    /// Removes the oldest and the newest entry in turn, until so many are left.
    Keep(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..400, 0u64..2000).prop_map(|(key, order)| Step::Insert(key, order)),
        2 => (0u16..300).prop_map(Step::Remove),
        1 => (0u16..300, any::<u32>()).prop_map(|(key, value)| Step::Update(key, value)),
        1 => (0u16..300).prop_map(Step::Append),
        1 => (0u16..300).prop_map(Step::Keep),
    ]
}

#[test]
fn what_is_appended_is_new_and_behind_all_others() {
    let hasher = KeyHasher::new(7);
    let item = |key: &str, order| Item { key: key.into(), order, value: 0 };
    let with_some = || {
        let mut roster = Roster::default();
        assert!(roster.try_append(vec![item("a", 1), item("b", 5)], hasher));
        roster
    };
    assert!(with_some().try_append(vec![item("c", 6), item("d", 9)], hasher));
    for bad in [
        vec![item("c", 5)],
        vec![item("c", 3)],
        vec![item("c", 7), item("d", 7)],
        vec![item("a", 6)],
        vec![item("c", 6), item("c", 7)],
    ] {
        assert!(!with_some().try_append(bad.clone(), hasher), "{bad:?}");
    }
}

#[test]
fn what_shrinks_gives_its_memory_back() {
    let hasher = KeyHasher::new(7);
    let item = |order: u64| Item { key: format!("key {order}"), order, value: 0 };
    let mut roster = Roster::default();
    assert!(roster.try_append((1..=20_000).map(item).collect(), hasher));
    let mut remove_down_to = |count: usize| {
        while roster.len() > count {
            let key = roster.first().unwrap().key.clone();
            roster.remove(&key, hasher.hash(&key)).unwrap();
        }
        match &roster.lookup {
            Lookup::Few(_) => 0,
            Lookup::Tags(tags) => tags.capacity(),
            Lookup::Index(index) => index.parts.iter().map(HashTable::capacity).sum(),
        }
    };
    assert!(remove_down_to(1000) <= 16 * 1000);
    assert!(remove_down_to(120) <= 128);
    assert!(remove_down_to(20) <= 2 * (20 + TAGS_AT_ONCE));
    assert_eq!(remove_down_to(3), 0);
    assert!(!roster.chunks.spilled());
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..600)) {
        let hasher = KeyHasher::new(7);
        let mut roster = Roster::default();
        let mut model: BTreeMap<u64, Item> = BTreeMap::new();
        let shared = |roster: &Roster<Item>| roster.chunks();
        let mut kept = (shared(&roster), model.clone());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(key, order) => {
                    let key = format!("k{key}");
                    let hash = hasher.hash(&key);
                    if roster.get(&key, hash).is_none() && !roster.has_order(order) {
                        let item = Item { key, order, value: 0 };
                        roster.insert(item.clone(), hasher);
                        model.insert(order, item);
                    }
                }
                Step::Append(count) => {
                    let last = roster.last().map_or(0, |last| last.order);
                    let orders = last + 1..=last + u64::from(count);
                    let items = orders.map(|order| Item { key: format!("n{number} {order}"), order, value: 0 });
                    let items: Vec<Item> = items.collect();
                    model.extend(items.iter().map(|item| (item.order, item.clone())));
                    prop_assert!(roster.try_append(items, hasher));
                }
                Step::Remove(key) => {
                    let key = format!("k{key}");
                    let removed = roster.remove(&key, hasher.hash(&key));
                    let order = model.values().find(|item| item.key == key).map(|item| item.order);
                    prop_assert_eq!(removed, order.and_then(|order| model.remove(&order)));
                }
                Step::Keep(count) => {
                    while model.len() > usize::from(count) {
                        let is_odd = model.len() % 2 == 1;
                        let gone = if is_odd { model.pop_first() } else { model.pop_last() };
                        let (_, item) = gone.unwrap();
                        let removed = roster.remove(&item.key, hasher.hash(&item.key));
                        prop_assert_eq!(removed, Some(item));
                    }
                }
                Step::Update(key, value) => {
                    let key = format!("k{key}");
                    if let Some(item) = roster.get_mut(&key, hasher.hash(&key)) {
                        item.value = value;
                    }
                    if let Some(item) = model.values_mut().find(|item| item.key == key) {
                        item.value = value;
                    }
                }
            }
            if number % 50 == 0 {
                // Chunks that the test shared 50 steps ago must be unchanged.
                let held: Vec<Item> = kept.0.iter().flat_map(|chunk| chunk.iter().cloned()).collect();
                prop_assert_eq!(held, kept.1.values().cloned().collect::<Vec<_>>());
                kept = (shared(&roster), model.clone());
            }
        }
        prop_assert_eq!(roster.len(), model.len());
        prop_assert!(roster.iter().eq(model.values()));
        prop_assert!(roster.iter_after(700).eq(model.range(701..).map(|(_, item)| item)));
        prop_assert!(roster.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_ENTRIES_MAX));
        for item in model.values() {
            prop_assert_eq!(roster.get(&item.key, hasher.hash(&item.key)), Some(item));
        }
    }
}
