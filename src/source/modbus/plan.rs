//! The read planner: many values, few requests. Pure.
//!
//! In come the spans of registers that the points of one device need; out go reads that cover each span
//! whole. Near spans of one table share a read when no more than `gap` unneeded registers lie between
//! them, and no read is longer than the protocol (125 registers, 2,000 bits) or the device allows.
//! A multi-register value is never split, so no value is put together from two moments.

use super::register::Function;

/// Registers (or bits) of one value, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub function: Function,
    pub address: u16,
    pub count: u16,
}

impl Span {
    fn end(self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }
}

/// One request. The same shape as a span, but it may cover many.
pub type Read = Span;

/// How far reads may be merged.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Unneeded registers worth reading for the sake of one request less; a register's worth of bits is 16.
    pub gap: u16,
    pub most_registers: u16,
}

impl Packing {
    fn gap(self, function: Function) -> u32 {
        u32::from(self.gap) * if function.is_bits() { 16 } else { 1 }
    }

    fn most(self, function: Function) -> u32 {
        let asked = u32::from(self.most_registers) * if function.is_bits() { 16 } else { 1 };
        asked.min(u32::from(function.most()))
    }
}

/// Where a span's words stand: in which read, and how far into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub read: usize,
    pub offset: usize,
}

#[derive(Clone, Debug)]
pub struct Plan {
    spans: Vec<Span>,
    reads: Vec<Read>,
    spots: Vec<Spot>,
}

impl Plan {
    /// Spans keep their order: the n-th spot is the n-th span's.
    #[must_use]
    pub fn of(spans: Vec<Span>, packing: Packing) -> Self {
        let mut sorted = spans.clone();
        sorted.sort_unstable();
        let mut reads: Vec<Read> = Vec::new();
        for span in sorted {
            if let Some(read) = reads.last_mut()
                && read.function == span.function
                && u32::from(span.address) <= read.end() + packing.gap(span.function)
                && read.end().max(span.end()) - u32::from(read.address) <= packing.most(span.function)
            {
                read.count = length(read.address, read.end().max(span.end()));
            } else {
                reads.push(span);
            }
        }
        let mut plan = Self { spans, reads, spots: Vec::new() };
        plan.place();
        plan
    }

    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    #[must_use]
    pub fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// The device refuses this read: parts it in two at its widest gap, so that one address which the
    /// device does not have costs no more than its own point. False when it covers a single value.
    pub fn cut(&mut self, at: usize) -> bool {
        let Some(read) = self.reads.get(at).copied() else { return false };
        let mut inside: Vec<Span> =
            self.spans.iter().zip(&self.spots).filter(|(_, spot)| spot.read == at).map(|(span, _)| *span).collect();
        inside.sort_unstable();
        let middle = u32::from(read.address) + u32::from(read.count) / 2;
        let mut best: Option<((u32, std::cmp::Reverse<u32>), u32, u16)> = None;
        let mut end = u32::from(read.address);
        for span in inside {
            let start = u32::from(span.address);
            if start >= end && start > u32::from(read.address) {
                let merit = (start - end, std::cmp::Reverse(start.abs_diff(middle)));
                if best.as_ref().is_none_or(|(known, ..)| merit > *known) {
                    best = Some((merit, end, span.address));
                }
            }
            end = end.max(span.end());
        }
        let Some((_, left_end, right_start)) = best else { return false };
        let left = Read { count: length(read.address, left_end), ..read };
        let right = Read { address: right_start, count: length(right_start, read.end()), ..read };
        self.reads.splice(at..=at, [left, right]);
        self.place();
        true
    }

    fn place(&mut self) {
        let spot = |span: &Span| {
            self.reads
                .iter()
                .position(|read| {
                    read.function == span.function && read.address <= span.address && span.end() <= read.end()
                })
                .map(|read| Spot { read, offset: usize::from(span.address - self.reads[read].address) })
                .expect("every span went into a read whole")
        };
        self.spots = self.spans.iter().map(spot).collect();
    }
}

fn length(start: u16, end: u32) -> u16 {
    u16::try_from(end - u32::from(start)).expect("no longer than the protocol allows")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLDING: Function = Function::HoldingRegisters;
    const USUAL: Packing = Packing { gap: 8, most_registers: 125 };

    fn spans(function: Function, list: &[(u16, u16)]) -> Vec<Span> {
        list.iter().map(|(address, count)| Span { function, address: *address, count: *count }).collect()
    }

    fn lengths(plan: &Plan) -> Vec<(u16, u16)> {
        plan.reads().iter().map(|read| (read.address, read.count)).collect()
    }

    #[test]
    fn thirty_values_side_by_side_are_one_request() {
        let list: Vec<_> = (0..30).map(|n| (100 + n, 1)).collect();
        let plan = Plan::of(spans(HOLDING, &list), USUAL);
        assert_eq!(lengths(&plan), [(100, 30)]);
        assert_eq!(plan.spots()[29], Spot { read: 0, offset: 29 });
    }

    #[test]
    fn a_gap_is_read_over_until_it_is_too_wide() {
        assert_eq!(lengths(&Plan::of(spans(HOLDING, &[(0, 2), (10, 2)]), USUAL)), [(0, 12)]);
        assert_eq!(lengths(&Plan::of(spans(HOLDING, &[(0, 2), (11, 2)]), USUAL)), [(0, 2), (11, 2)]);
        let strict = Packing { gap: 0, ..USUAL };
        assert_eq!(lengths(&Plan::of(spans(HOLDING, &[(0, 2), (2, 2), (5, 1)]), strict)), [(0, 4), (5, 1)]);
    }

    #[test]
    fn a_value_at_the_limit_goes_whole_into_the_next_read() {
        let list: Vec<_> = (0..100).map(|n| (n * 4 + 1, 4)).collect();
        let plan = Plan::of(spans(HOLDING, &list), USUAL);
        assert_eq!(lengths(&plan), [(1, 124), (125, 124), (249, 124), (373, 28)]);
    }

    #[test]
    fn tables_do_not_mix_and_bits_have_their_own_limit() {
        let mut list = spans(HOLDING, &[(0, 1)]);
        list.extend(spans(Function::InputRegisters, &[(1, 1)]));
        list.extend((0..2_100).map(|address| Span { function: Function::Coils, address, count: 1 }));
        let plan = Plan::of(list, USUAL);
        let counts: Vec<_> = plan.reads().iter().map(|read| (read.function, read.count)).collect();
        assert_eq!(
            counts,
            [(Function::Coils, 2_000), (Function::Coils, 100), (HOLDING, 1), (Function::InputRegisters, 1)]
        );
    }

    #[test]
    fn a_refused_read_is_parted_until_the_missing_register_stands_alone() {
        let mut plan = Plan::of(spans(HOLDING, &[(0, 2), (2, 1), (6, 2), (8, 1)]), USUAL);
        assert_eq!(lengths(&plan), [(0, 9)]);
        assert!(plan.cut(0));
        assert_eq!(lengths(&plan), [(0, 3), (6, 3)]);
        assert!(plan.cut(1));
        assert_eq!(lengths(&plan), [(0, 3), (6, 2), (8, 1)]);
        assert_eq!(plan.spots()[3], Spot { read: 2, offset: 0 });
        assert!(!plan.cut(1) && !plan.cut(2) && !plan.cut(9));
        // Two points on the same and on overlapping registers belong together.
        let mut plan = Plan::of(spans(HOLDING, &[(4, 2), (4, 2), (5, 1)]), USUAL);
        assert!(!plan.cut(0));
    }

    fn any_spans() -> impl Strategy<Value = Vec<Span>> {
        let span =
            (1_u8..=4, 0_u16..1_000, prop::sample::select(vec![1_u16, 2, 4])).prop_map(|(function, address, count)| {
                let function = Function::numbered(function).unwrap();
                Span { function, address, count: if function.is_bits() { 1 } else { count } }
            });
        prop::collection::vec(span, 1..80)
    }

    fn sound(plan: &Plan, list: &[Span], packing: Packing) {
        for (span, spot) in list.iter().zip(plan.spots()) {
            let read = plan.reads()[spot.read];
            assert_eq!(read.function, span.function);
            assert_eq!(usize::from(read.address) + spot.offset, usize::from(span.address));
            assert!(spot.offset + usize::from(span.count) <= usize::from(read.count));
        }
        for read in plan.reads() {
            assert!(read.count >= 1 && u32::from(read.count) <= packing.most(read.function).max(4));
            assert!(read.count <= read.function.most());
        }
    }

    proptest! {
        #[test]
        fn every_value_is_whole_in_one_read(list in any_spans(), gap in 0_u16..20, most_registers in 4_u16..=125, cuts in prop::collection::vec(0_usize..20, 0..10)) {
            let packing = Packing { gap, most_registers };
            let mut plan = Plan::of(list.clone(), packing);
            sound(&plan, &list, packing);
            // Two reads that lie within the gap of each other are two only because one would be too long.
            for pair in plan.reads().windows(2) {
                if pair[0].function == pair[1].function && u32::from(pair[1].address) <= pair[0].end() + packing.gap(pair[0].function) {
                    prop_assert!(pair[1].end() - u32::from(pair[0].address) > packing.most(pair[0].function));
                }
            }
            for at in cuts {
                let before = plan.reads().len();
                let done = plan.cut(at);
                prop_assert_eq!(plan.reads().len(), before + usize::from(done));
                sound(&plan, &list, packing);
            }
        }
    }
}
