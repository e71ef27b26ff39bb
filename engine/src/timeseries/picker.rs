//! Which segments of a partition are merged next: a pure function over what the manifest says.
//!
//! Segments that a flush writes are small and many. Merging them costs writing their rows again, so
//! each rule below keeps a row from being written often:
//!
//! 1. *Deleted*: a segment of which a good part is deleted is written again without it.
//! 2. *Overlap*: no instant is covered by more than [`OVERLAP_MAX`] segments, which a reader of late
//!    rows would have to put together.
//! 3. *Small*: segments of one size, up to [`SMALL_BYTES_MAX`], become one of the next size when
//!    there are [`FAN_IN`] of them; so a row is written a few times on its way up, whatever the trickle.
//! 4. *Sealed*: a partition that gets no more rows becomes one segment. Segments that come late are
//!    put into the large one only when they are a good part of it themselves.

use tidemark_catalog::ids::SegmentId;
use tidemark_catalog::segment::Segment;

/// The most segments that may cover one instant.
pub(crate) const OVERLAP_MAX: usize = 8;

/// So many segments of one size are worth merging.
pub(crate) const FAN_IN: usize = 8;

/// The most segments that one merge reads.
pub(crate) const INPUTS_MAX: usize = 32;

/// Sizes are powers of [`FAN_IN`] of this.
const SIZE_UNIT: u64 = 4 << 10;

/// From this size on a segment is merged when its partition is sealed, or when others overlap it.
const SMALL_BYTES_MAX: u64 = 4 << 20;

/// The largest segment that a merge makes. Rows of a segment are numbered with 32 bits.
const OUTPUT_BYTES_MAX: u64 = 16 << 30;
const OUTPUT_ROWS_MAX: u64 = u32::MAX as u64;

/// One part in so many of a large segment has to be new, or deleted, to write it again.
const LARGE_PER_NEW: u64 = 3;

/// Whether a partition still gets rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Rows of the present arrive in it.
    Active,
    /// It ended a while ago, and nothing has come since.
    Sealed,
}

/// Why segments are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeReason {
    /// Many of their rows are deleted.
    Deleted,
    /// Too many of them cover the same time.
    Overlap,
    /// They are small.
    Small,
    /// Their partition gets no more rows.
    Sealed,
    /// Somebody asked for it.
    Asked,
}

impl MergeReason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            MergeReason::Deleted => "deleted",
            MergeReason::Overlap => "overlap",
            MergeReason::Small => "small",
            MergeReason::Sealed => "sealed",
            MergeReason::Asked => "asked",
        }
    }
}

/// Segments to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) inputs: Vec<SegmentId>,
    pub(crate) reason: MergeReason,
}

/// What is to be merged next in a partition, if anything is.
pub(crate) fn pick(segments: &[&Segment], phase: Phase) -> Option<Pick> {
    let mut by_size: Vec<&Segment> = segments.to_vec();
    by_size.sort_by_key(|segment| (segment.file_bytes, segment.id));
    let rules = [
        (MergeReason::Deleted, deleted(&by_size)),
        (MergeReason::Overlap, overlapping(&by_size)),
        (MergeReason::Small, small(&by_size)),
        (MergeReason::Sealed, if phase == Phase::Sealed { sealed(&by_size) } else { Vec::new() }),
    ];
    rules.into_iter().find_map(|(reason, inputs)| {
        let inputs = within_output(inputs);
        let is_worth_it = inputs.len() > 1 || (reason == MergeReason::Deleted && !inputs.is_empty());
        is_worth_it.then(|| Pick { inputs: inputs.iter().map(|segment| segment.id).collect(), reason })
    })
}

/// Everything that makes one segment of a partition, a merge after another; `None` when it is one.
pub(crate) fn pick_all(segments: &[&Segment]) -> Option<Pick> {
    let mut by_size: Vec<&Segment> = segments.to_vec();
    by_size.sort_by_key(|segment| (segment.file_bytes, segment.id));
    let inputs = within_output(by_size);
    let is_done = match &inputs[..] {
        [] => true,
        [only] => only.deleted.is_none(),
        _ => false,
    };
    let inputs = inputs.iter().map(|segment| segment.id).collect();
    (!is_done).then_some(Pick { inputs, reason: MergeReason::Asked })
}

/// As many of the inputs, in their order, as one merge takes.
fn within_output(inputs: Vec<&Segment>) -> Vec<&Segment> {
    let mut bytes = 0;
    let mut rows = 0;
    let fits = |segment: &&Segment| {
        bytes += segment.file_bytes;
        rows += segment.live_row_count();
        bytes <= OUTPUT_BYTES_MAX && rows <= OUTPUT_ROWS_MAX
    };
    inputs.into_iter().take(INPUTS_MAX).take_while(fits).collect()
}

fn deleted<'a>(by_size: &[&'a Segment]) -> Vec<&'a Segment> {
    let is_worth_it = |segment: &&&Segment| {
        segment.deleted.is_some_and(|deleted| deleted.row_count >= segment.row_count.div_ceil(LARGE_PER_NEW))
    };
    by_size.iter().find(is_worth_it).copied().into_iter().collect()
}

/// The smallest of the segments at the instant that most of them cover: so many that as many as allowed
/// are left, and those that are no larger than all before them.
fn overlapping<'a>(by_size: &[&'a Segment]) -> Vec<&'a Segment> {
    let deepest = by_size.iter().map(|segment| segment.time_min);
    let covering = |time: i64| {
        let covers = |segment: &&&Segment| segment.time_min <= time && time <= segment.time_max;
        by_size.iter().filter(covers).copied().collect::<Vec<_>>()
    };
    let deepest = deepest.map(covering).max_by_key(Vec::len).unwrap_or_default();
    if deepest.len() <= OVERLAP_MAX {
        return Vec::new();
    }
    let at_least = deepest.len() - OVERLAP_MAX + 1;
    let mut bytes = 0;
    let is_taken = |(at, segment): &(usize, &Segment)| {
        let is_taken = *at < at_least || segment.file_bytes <= bytes;
        bytes += segment.file_bytes;
        is_taken
    };
    deepest.into_iter().enumerate().take_while(is_taken).map(|(_, segment)| segment).collect()
}

fn small<'a>(by_size: &[&'a Segment]) -> Vec<&'a Segment> {
    let class = |segment: &Segment| (segment.file_bytes / SIZE_UNIT).max(1).ilog(FAN_IN as u64);
    let small: Vec<&Segment> =
        by_size.iter().filter(|segment| segment.file_bytes < SMALL_BYTES_MAX).copied().collect();
    let same = small.chunk_by(|left, right| class(left) == class(right));
    same.filter(|segments| segments.len() >= FAN_IN).map(<[_]>::to_vec).next().unwrap_or_default()
}

fn sealed<'a>(by_size: &[&'a Segment]) -> Vec<&'a Segment> {
    let Some((largest, others)) = by_size.split_last() else { return Vec::new() };
    let new: u64 = others.iter().map(|segment| segment.file_bytes).sum();
    if largest.file_bytes <= new.saturating_mul(LARGE_PER_NEW) {
        return by_size.to_vec();
    }
    // The large one stays; what came late is still put together.
    sealed(others)
}

#[cfg(test)]
mod tests {
    use tidemark_catalog::ids::{CollectionId, Lsn, PartitionId, SchemaVersion};
    use tidemark_catalog::segment::DeletedRows;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn segment(id: u64, bytes: u64, time: std::ops::Range<i64>) -> Segment {
        Segment {
            id: SegmentId(id),
            collection: CollectionId(1),
            partition: PartitionId(1),
            schema_version: SchemaVersion(1),
            level: 0,
            row_count: bytes / 10 + 1,
            file_bytes: bytes,
            footer_crc32c: 0,
            footer_bytes: 0,
            time_min: time.start,
            time_max: time.end - 1,
            lsn_min: Lsn(id),
            lsn_max: Lsn(id),
            stage: 0,
            statistics: Vec::new(),
            deleted: None,
        }
    }

    /// Segments of these sizes, one after another in time.
    fn in_order(bytes: &[u64]) -> Vec<Segment> {
        let one = |(id, bytes): (i64, &u64)| segment(id.unsigned_abs(), *bytes, id * 100..(id + 1) * 100);
        (1..).zip(bytes).map(one).collect()
    }

    fn picked(segments: &[Segment], phase: Phase) -> Option<(Vec<u64>, MergeReason)> {
        let segments: Vec<&Segment> = segments.iter().collect();
        pick(&segments, phase).map(|pick| {
            let mut ids: Vec<u64> = pick.inputs.iter().map(|id| id.0).collect();
            ids.sort_unstable();
            (ids, pick.reason)
        })
    }

    #[test]
    fn an_active_partition_merges_only_what_is_small() {
        let large = in_order(&[8 * MIB; 20]);
        assert_eq!(picked(&large, Phase::Active), None);
        let seven = in_order(&[10 << 10; 7]);
        assert_eq!(picked(&seven, Phase::Active), None);
        let eight = in_order(&[10 << 10, 20 << 10, 31 << 10, 9 * MIB, 1000, 5, 6, 7, 8]);
        assert_eq!(picked(&eight, Phase::Active), Some((vec![1, 2, 3, 5, 6, 7, 8, 9], MergeReason::Small)));
        let of_two_sizes = in_order(&[&[MIB; 7][..], &[100 << 10; 7]].concat());
        assert_eq!(picked(&of_two_sizes, Phase::Active), None);
    }

    #[test]
    fn a_sealed_partition_becomes_one_segment() {
        let segments = in_order(&[8 * MIB; 17]);
        assert_eq!(picked(&segments, Phase::Sealed), Some(((1..=17).collect(), MergeReason::Sealed)));
        assert_eq!(picked(&in_order(&[100 * MIB]), Phase::Sealed), None);
        let many = in_order(&[8 * MIB; 40]);
        assert_eq!(picked(&many, Phase::Sealed), Some(((1..=32).collect(), MergeReason::Sealed)));
    }

    #[test]
    fn a_little_that_comes_late_does_not_write_the_large_one_again() {
        let late = in_order(&[300 * MIB, 5 * MIB]);
        assert_eq!(picked(&late, Phase::Sealed), None);
        let more = in_order(&[300 * MIB, 5 * MIB, 6 * MIB]);
        assert_eq!(picked(&more, Phase::Sealed), Some((vec![2, 3], MergeReason::Sealed)));
        let enough = in_order(&[300 * MIB, 50 * MIB, 60 * MIB]);
        assert_eq!(picked(&enough, Phase::Sealed), Some((vec![1, 2, 3], MergeReason::Sealed)));
    }

    #[test]
    fn no_instant_is_covered_by_more_than_allowed() {
        let mut segments: Vec<Segment> = (1..=8).map(|id| segment(id, 50 * MIB * id, 0..1000)).collect();
        assert_eq!(picked(&segments, Phase::Active), None);
        segments.push(segment(9, 5 * MIB, 500..600));
        assert_eq!(picked(&segments, Phase::Active), Some((vec![1, 9], MergeReason::Overlap)));
        segments.push(segment(10, 5 * MIB, 2000..3000));
        assert_eq!(picked(&segments, Phase::Active), Some((vec![1, 9], MergeReason::Overlap)));
    }

    #[test]
    fn a_segment_with_many_deleted_rows_is_written_again() {
        let with_deleted = |row_count| {
            let deleted = DeletedRows { file: SegmentId(9), row_count, file_bytes: 1, crc32c: 1 };
            vec![Segment { row_count: 900, deleted: Some(deleted), ..segment(1, 50 * MIB, 0..10) }]
        };
        assert_eq!(picked(&with_deleted(299), Phase::Active), None);
        assert_eq!(picked(&with_deleted(300), Phase::Active), Some((vec![1], MergeReason::Deleted)));
    }

    #[test]
    fn asking_ends_with_one_segment_without_deleted_rows() {
        let segments = in_order(&[300 * MIB, 5 * MIB]);
        let refs: Vec<&Segment> = segments.iter().collect();
        assert_eq!(pick_all(&refs).unwrap().inputs, [SegmentId(2), SegmentId(1)]);
        assert_eq!(pick_all(&refs[..1]), None);
        assert_eq!(pick_all(&[]), None);
    }

    /// What a simulated load costs: bytes written over bytes that came in.
    fn amplification(arrivals: impl Iterator<Item = Segment>) -> f64 {
        let mut live: Vec<Segment> = Vec::new();
        let (mut came, mut written, mut next_id) = (0, 0, 1_000_000);
        let merge = |live: &mut Vec<Segment>, phase, next_id: &mut u64| {
            let mut written = 0;
            while let Some(pick) = pick(&live.iter().collect::<Vec<_>>(), phase) {
                let (inputs, others): (Vec<Segment>, Vec<Segment>) =
                    live.drain(..).partition(|segment| pick.inputs.contains(&segment.id));
                let bytes = inputs.iter().map(|segment| segment.file_bytes).sum();
                let start = inputs.iter().map(|segment| segment.time_min).min().unwrap();
                let end = inputs.iter().map(|segment| segment.time_max + 1).max().unwrap();
                *live = others;
                live.push(segment(*next_id, bytes, start..end));
                *next_id += 1;
                written += bytes;
            }
            written
        };
        for arrival in arrivals {
            came += arrival.file_bytes;
            written += arrival.file_bytes;
            live.push(arrival);
            written += merge(&mut live, Phase::Active, &mut next_id);
        }
        written += merge(&mut live, Phase::Sealed, &mut next_id);
        assert_eq!(live.len(), 1, "a sealed partition is one segment");
        #[allow(clippy::cast_precision_loss, reason = "a ratio")]
        let amplification = written as f64 / came as f64;
        amplification
    }

    #[test]
    fn rows_are_written_at_most_three_times_in_order_and_six_with_late_rows() {
        let in_order = amplification(in_order(&[9 * MIB; 17]).into_iter());
        assert!(in_order <= 3.0, "{in_order}");
        // Every flush has a tenth of its rows from anywhere before.
        let late = (0..40_u32).flat_map(|at| {
            let start = i64::from(at) * 100;
            [
                segment(u64::from(at) * 2, 8 * MIB, start..start + 100),
                segment(u64::from(at) * 2 + 1, MIB, 0..start + 1),
            ]
        });
        let late = amplification(late);
        assert!(late <= 6.0, "{late}");
        let trickle = amplification(self::in_order(&[9 << 10; 2000]).into_iter());
        assert!(trickle <= 6.0, "{trickle}");
    }
}
