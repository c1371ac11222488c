//! The semantics, sentence by sentence, at every door. Each scenario is written once. It is played
//! on simulated nodes of several sizes, on nodes that crash after every command, and on real
//! servers through TCP and HTTP.
//!
//! The rules are the chapters of `docs/reference/semantics.md`: 1 list, 2 detail, 3 delete, 4
//! advance, 5 mark_read, 6 unread, 7 members, 8 create, 9 dissolve, 10 the change log, 11 atomic
//! writes and repeats (see also `node_crash.rs`). Rule 0 is "anything else is a clear error and
//! changes nothing", and the other commands.

mod advance;
mod conversations;
mod create;
mod delete;
mod detail;
mod dissolve;
mod erase;
mod errors;
mod explain;
mod list;
mod members;
mod read;
mod read_many;
mod repeats;
mod sync;
mod transfer;
mod unread;
mod versions;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::{AdminDoor, Door, RestartDoor, SimNode, TcpDoor};

/// A story with one store, or with a second one that is empty.
enum Play {
    One(fn(&mut dyn Door)),
    Two(fn(&mut dyn Door, &mut dyn Door)),
}

struct Scenario {
    rule: u8,
    name: &'static str,
    play: Play,
}

macro_rules! scenarios {
    ($($rule:literal $kind:ident $($name:ident)::+;)+) => {
        const SCENARIOS: &[Scenario] = &[$(
            Scenario { rule: $rule, name: stringify!($($name)::+), play: Play::$kind($($name)::+) }
        ),+];
    };
}

scenarios! {
    1 One list::an_unknown_user_has_an_empty_list;
    1 One list::a_new_row_has_the_apis_fields;
    1 One list::pinned_first_then_newest_joined;
    1 One list::hidden_rows_are_listed_and_deleted_ones_are_not;
    1 One list::pages_make_up_the_whole_list;
    1 One list::joining_again_makes_it_the_newest;
    1 One list::a_chat_is_listed_by_all_its_members_and_nobody_else;
    2 One detail::the_order_asked_each_once;
    2 One detail::unknown_and_dissolved_chats_are_left_out;
    2 One detail::a_user_sees_only_their_own_chats;
    2 One detail::the_floor_is_the_highest_of_four;
    3 One delete::one_sided_and_until_the_next_message;
    3 One delete::up_to_an_older_sequence_leaves_the_newer;
    3 One delete::up_to_beyond_the_last_is_refused;
    3 One delete::an_older_up_to_takes_nothing_back;
    3 One delete::repeating_it_changes_nothing;
    3 One delete::repeating_it_leaves_what_was_set_since;
    3 One delete::mute_and_hide_stay_pin_and_mark_go;
    3 One delete::a_late_message_does_not_bring_it_back;
    3 One delete::a_chat_without_messages_can_be_deleted;
    3 One delete::ids_that_the_user_has_not_are_ignored;
    3 One delete::several_chats_at_once;
    3 One delete::again_and_again;
    3 One delete::clear_sets_the_watermark_and_leaves_the_row;
    4 One advance::to_is_monotonic;
    4 One advance::allocate_hands_out_each_once;
    4 One advance::too_far_ahead_is_refused_without_force;
    4 One advance::the_last_sequence_there_is;
    4 One advance::time_is_of_the_newest_sequence;
    4 One advance::a_time_over_a_day_ahead_is_refused;
    4 One advance::the_sender_has_read_their_own;
    4 One advance::a_stranger_may_send;
    4 One advance::disabled_dissolved_unknown;
    4 One advance::it_brings_back_all_who_deleted;
    5 One read::the_position_never_goes_back;
    5 One read::beyond_the_last_is_an_error;
    5 One read::reading_takes_the_mark_away;
    5 One read::only_members_read;
    5 One read_many::each_item_is_a_mark_read;
    5 One read_many::a_refused_item_keeps_no_other_from_being_taken;
    5 One read_many::a_deleted_chat_can_be_read;
    5 One read_many::wrong_requests_are_refused_whole;
    6 One read::unread_by_each_floor;
    6 One read::own_messages_are_read_by_sending;
    6 One unread::totals_add_up_the_chats;
    6 One unread::muted_chats_are_counted_apart;
    6 One unread::a_mark_counts_a_chat_and_no_message;
    6 One unread::hidden_and_deleted_chats_are_not_counted;
    6 One unread::many_users_in_the_order_asked_each_once;
    7 One members::history_is_not_unread;
    7 One members::adding_again_resets_nothing;
    7 One members::removing_takes_the_row_and_rejoining_starts_afresh;
    7 One members::a_deleter_who_leaves_and_returns;
    7 One members::a_single_chat_is_fixed;
    7 One members::pages_make_up_all_members;
    7 One members::a_large_group_in_slices;
    7 One members::only_chats_that_are_there_have_members;
    8 One create::the_same_request_again;
    8 One create::another_request_is_a_conflict;
    8 One create::a_single_chats_id_is_derived;
    8 One create::a_derived_id_that_is_taken;
    8 One create::a_single_chat_with_an_id_of_its_own_is_not_found;
    8 One create::other_ids_are_random;
    8 One create::the_creator_is_a_member_only_if_named;
    8 One create::a_single_chat_has_two_users;
    8 One create::members_are_each_once_in_order;
    9 One dissolve::it_leaves_every_list_for_good;
    9 One dissolve::its_id_is_never_used_again;
    9 One dissolve::every_command_that_names_it_says_so;
    9 One dissolve::a_single_chat_is_disabled_instead;
    9 One dissolve::status_changes_count_once;
    10 One sync::the_first_tells_the_list;
    10 One sync::each_changed_chat_once_as_it_is_now;
    10 One sync::what_is_no_change_is_not_told;
    10 One sync::a_deleted_chat_is_removed_and_comes_back;
    10 One sync::chats_that_were_left_leave_tombstones;
    10 One sync::pages_of_changes;
    10 One sync::a_listing_leaves_out_what_went_before_it;
    10 One sync::an_unknown_log_or_version_starts_again;
    10 One sync::an_old_point_starts_again_when_tombstones_are_forgotten;
    10 One sync::an_erased_user_starts_again;
    11 One repeats::the_first_answer_comes_again;
    11 One repeats::numbers_are_handed_out_once;
    11 One repeats::another_request_is_a_conflict;
    11 One repeats::each_owner_has_its_own_keys;
    11 One repeats::errors_are_not_remembered;
    11 One repeats::an_id_is_derived_from_the_key;
    11 One repeats::a_refused_request_of_several_chats_applies_nothing;
    11 One repeats::a_request_of_several_chats_is_applied_once;
    11 One repeats::a_key_of_a_user_is_for_one_command;
    11 One repeats::a_key_without_an_id_makes_one_chat;
    11 One repeats::an_erased_user_gets_no_first_answer;
    11 One repeats::keys_have_the_form_of_ids;
    11 Two transfer::imported_elsewhere_it_answers_the_same;
    11 Two transfer::pages_make_up_the_whole_export;
    11 Two transfer::life_goes_on_after_import;
    11 One transfer::what_is_there_is_not_imported_without_merge;
    11 One transfer::merge_keeps_the_higher;
    11 One transfer::merged_messages_bring_deleted_rows_back;
    11 One transfer::defaults_of_lines;
    11 One transfer::positions_beyond_the_chat_are_held_at_its_last;
    11 One transfer::wrong_lines_are_refused_whole;
    11 One transfer::the_highest_imported_counters_go_on;
    11 One transfer::a_large_import_is_taken_whole_or_not_at_all;
    11 One transfer::removed_lines_remove;
    11 One transfer::lines_of_one_membership_are_taken_in_their_order;
    11 One transfer::removals_of_one_version_are_all_exported;
    11 Two transfer::the_longest_page_is_one_request;
    11 Two transfer::rows_without_an_order_come_in_the_order_of_lines;
    11 Two transfer::of_equal_orders_the_later_line_is_joined_later;
    0 One errors::wrong_arguments_change_nothing;
    0 One errors::refused_commands_change_nothing;
    0 One errors::limits_are_told_as_too_large;
    0 One errors::ids_of_every_language;
    0 One errors::flags_are_set_one_by_one;
    0 One errors::touch_sets_the_time_online;
    0 One conversations::an_item_is_the_row_and_the_chat;
    0 One conversations::an_unknown_user_has_none;
    0 One conversations::pinned_first_then_newest_then_by_id;
    0 One conversations::what_is_deleted_dissolved_or_left_is_not_there;
    0 One conversations::filters_leave_out;
    0 One conversations::pages_make_up_all_of_them;
    0 One conversations::a_page_tells_that_earlier_ones_moved;
    0 One conversations::a_cursor_stands_behind_a_chat_that_went;
    0 One conversations::wrong_cursors_and_limits_are_refused;
    0 One versions::a_rows_version;
    0 One versions::a_chats_version;
    0 One versions::existence_is_looked_at_first;
    0 One versions::a_repeat_gets_the_first_answer_although_the_version_moved_on;
    0 One explain::each_floor_is_told;
    0 One explain::what_is_not_listed;
    0 One explain::reasons_differ_with_the_case;
    0 One explain::verify_counts_and_finds_nothing;
    0 One erase::all_memberships_go;
    0 One erase::a_chat_that_was_left_before_keeps_its_version;
    0 One erase::the_makers_name_goes;
    0 One erase::who_joins_again_is_a_new_user;
    0 One erase::a_single_chat_stays_with_the_other;
    0 One erase::the_two_begin_a_new_chat_each_time;
    0 One erase::a_user_of_many_chats;
}

impl Scenario {
    fn run<D: Door>(&self, make: &impl Fn(bool) -> D, end: &impl Fn(D)) {
        let mut first = make(false);
        match self.play {
            Play::One(play) => play(&mut first),
            Play::Two(play) => {
                let mut second = make(true);
                play(&mut first, &mut second);
                end(second);
            }
        }
        end(first);
    }
}

/// Plays every scenario on stores of its own, and tells all that failed.
fn play<D: Door>(make: impl Fn(bool) -> D, end: impl Fn(D)) {
    let failed: Vec<String> = SCENARIOS
        .iter()
        .filter(|scenario| catch_unwind(AssertUnwindSafe(|| scenario.run(&make, &end))).is_err())
        .map(|scenario| format!("rule {}: {}", scenario.rule, scenario.name))
        .collect();
    assert!(failed.is_empty(), "failed:\n{}", failed.join("\n"));
}

/// Nothing is left under way, and what is left can be started from.
fn end_sim(mut node: SimNode) {
    node.settle();
    let mut again = node.crashed(3);
    again.settle();
    again.assert_same_state(&mut node, "the log does not hold what is there");
    let mut again = {
        node.begin_snapshot(1);
        let snapshot = node.finish_snapshot();
        node.crashed_without_log(4, &snapshot)
    };
    again.settle();
    again.assert_same_state(&mut node, "a snapshot does not hold what is there");
}

fn on_sim(shards: u16) {
    let make = |second: bool| {
        if second { SimNode::new(shards % 5 + 2, 99) } else { SimNode::new(shards, 7) }
    };
    play(make, end_sim);
}

#[test]
fn on_one_shard() {
    on_sim(1);
}

#[test]
fn on_two_shards() {
    on_sim(2);
}

#[test]
fn on_five_shards() {
    on_sim(5);
}

#[test]
fn in_any_order_between_shards() {
    for seed in 0..4 {
        let make = |second: bool| {
            let mut node = SimNode::new(4, 1000 + seed);
            node.shuffle(seed * 2 + u64::from(second));
            node
        };
        play(make, end_sim);
    }
}

#[test]
fn with_a_crash_after_every_command() {
    play(|second| RestartDoor::new(u64::from(second) + 3, false), drop);
}

#[test]
fn with_a_crash_and_an_snapshot_after_every_command() {
    play(|second| RestartDoor::new(u64::from(second) + 3, true), drop);
}

#[test]
fn through_the_tcp_door() {
    play(|_| TcpDoor::start(2), TcpDoor::stop);
}

#[test]
fn through_the_admin_door() {
    play(|_| AdminDoor::start(2), AdminDoor::stop);
}
