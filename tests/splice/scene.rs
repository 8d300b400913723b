//! A pair in the program's table, the model that does the same, and what must be alike.

use crate::{common::frames::OURS, draw::Draw};
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use xskip::{
    rng::SipKey,
    splice::{Carrier, Pair, PairId, Refusal},
    time::Instant,
    xdp::{Program, ProgramOptions, SpliceTable, Splices, Steering, Tables},
};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
pub const XDP_REDIRECT: u32 = 4;

/// Our ends of connections.
pub const LOCAL: [&str; 4] = ["198.18.0.80", "198.18.0.1", "2001:2::80", "2001:2::1"];
/// Loopback, by which frames come here, and another one.
pub const INTERFACES: [u32; 2] = [1, 2];
/// The VLAN that the second program serves.
pub const VLAN: u16 = 5;

pub struct Scene {
    programs: [Program; 2],
    pub splices: Splices,
    pub model: Pair,
    pub id: Option<PairId>,
    /// Whether frames are tagged, and of which VLAN.
    pub vlan: Option<u16>,
    origin: std::time::Instant,
    happened: BTreeMap<String, u64>,
    counted: [BTreeMap<&'static str, u64>; 2],
}

pub fn load(table: &SpliceTable, vlan: Option<u16>) -> Program {
    let own: Vec<IpAddr> = LOCAL.map(|own| own.parse().unwrap()).to_vec();
    let steering = Steering { station: OURS.0, vlan, own, ..Steering::default() };
    let tables = Tables { splices: Some(table), ..Tables::default() };
    let loaded = Program::load_with(&steering, &ProgramOptions::default(), SipKey::from_seed(4), &tables);
    loaded.unwrap_or_else(|error| panic!("{error}"))
}

impl Scene {
    pub fn new() -> Self {
        let table = Arc::new(SpliceTable::new(1_000).unwrap());
        let programs = [load(&table, None), load(&table, Some(VLAN))];
        let origin = std::time::Instant::now();
        let (vlan, start) = (None, Instant::from_millis(500_000));
        let splices = table.share(0, 1, INTERFACES.to_vec(), start);
        let model = Draw::new(0).pair(None, start);
        let (happened, counted) = (BTreeMap::new(), [BTreeMap::new(), BTreeMap::new()]);
        Self { programs, splices, model, id: None, vlan, origin, happened, counted }
    }

    pub fn now(&self) -> Instant {
        Instant::from_millis(500_000) + self.origin.elapsed()
    }

    /// Another pair.
    pub fn renew(&mut self, draw: &mut Draw) {
        let vlan = draw.vlan();
        let model = draw.pair(vlan, self.now());
        self.take(model, vlan);
    }

    pub fn take(&mut self, model: Pair, vlan: Option<u16>) {
        if let Some(id) = self.id.take() {
            let left = self.splices.forget(id).unwrap();
            assert_eq!(like(&left), like(&self.model));
            assert_eq!(self.splices.look(id), None);
        }
        (self.model, self.vlan) = (model, vlan);
        self.id = self.splices.take(&self.model);
        assert_eq!(self.splices.look(self.id.unwrap()).as_ref(), Some(&self.model));
    }

    pub fn program(&self) -> &Program {
        &self.programs[usize::from(self.vlan == Some(VLAN))]
    }

    pub fn look(&self) -> Pair {
        self.splices.look(self.id.unwrap()).unwrap()
    }

    /// What the program has counted since this was asked last.
    fn counted(&mut self) -> Vec<&'static str> {
        let now: BTreeMap<_, _> = self.program().verdicts().unwrap().iter().collect();
        let counted = &mut self.counted[usize::from(self.vlan == Some(VLAN))];
        let before = std::mem::replace(counted, now.clone());
        now.into_iter()
            .filter(|(name, count)| before.get(name).copied().unwrap_or(0) < *count)
            .map(|(name, _)| name)
            .collect()
    }

    /// Runs the program and the model on a frame; says what the model said.
    #[track_caller]
    pub fn check(&mut self, number: u32, frame: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut expected = frame.to_vec();
        let before = self.model.clone();
        let said = self.model.translate(self.now(), &mut expected);
        let (action, output) = self.program().test_run(frame).unwrap();
        let counted = self.counted();
        let counted = counted.iter().find(|name| name.contains("splice")).copied();
        // The stack gets a bare SYN, whatever else may be said of it.
        let is_question = is_bare_syn(frame);
        let about = || {
            format!(
                "frame {number}: {frame:02x?}\nof {before:#x?}\nthe model: {said:?}\nthe program: {action}, {counted:?}"
            )
        };
        match said {
            Ok(side) => {
                let is_far = before.link(side).interface.index() == 1;
                assert_eq!(counted, Some("spliced"), "{}", about());
                assert_eq!(action, if is_far { XDP_REDIRECT } else { XDP_TX }, "{}", about());
                assert_eq!(output, expected, "{}", about());
            }
            Err(refusal) => {
                let name = verdict(refusal);
                let is_told = refusal == Refusal::TooBig && counted == Some("answered_splice_too_big");
                // Whose a malformed frame is may be impossible to say.
                let is_unknown = refusal == Refusal::Malformed && counted.is_none();
                let is_unknown = is_unknown || is_question && counted.is_none();
                assert!(counted == name || is_told || is_unknown, "{}", about());
                assert!(name.is_none() || is_told || is_unknown || action == XDP_DROP, "{}", about());
                assert!(is_told || output == frame, "{}", about());
            }
        }
        let (looked, wanted) = (self.look(), &self.model);
        assert_eq!(like(&looked), like(wanted), "{}", about());
        let apart = wanted.heard.saturating_since(looked.heard).max(looked.heard.saturating_since(wanted.heard));
        assert!(apart < Duration::from_secs(2), "{apart:?}");
        *self.happened.entry(format!("{said:?}")).or_default() += 1;
        said.map(|_| expected)
    }

    /// What the model has said, and how often: what it might have said is there as well.
    pub fn happened(&self) -> BTreeMap<String, u64> {
        let names = Refusal::ALL.iter().map(|refusal| format!("Err({refusal:?})"));
        let all = names.chain(["Ok(Client)".to_owned(), "Ok(Backend)".to_owned()]);
        all.map(|name| (name.clone(), self.happened.get(&name).copied().unwrap_or(0))).collect()
    }
}

/// Whether a frame is a segment with SYN, and without ACK, RST and FIN.
fn is_bare_syn(frame: &[u8]) -> bool {
    let ip = if frame.get(12) == Some(&0x81) { 18 } else { 14 };
    let octet = |at: usize| frame.get(at).copied().unwrap_or_default();
    let tcp = if octet(ip) >> 4 == 4 { ip + usize::from(octet(ip) & 15) * 4 } else { ip + 40 };
    octet(tcp + 13) & 0x17 == 2
}

/// All but when something was heard, which the program rarely writes down.
pub fn like(pair: &Pair) -> Pair {
    Pair { heard: Instant::ZERO, ..pair.clone() }
}

/// What the program counts where the model refuses; `None` where the stack gets it.
fn verdict(refusal: Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::NotOurs | Refusal::Fragment | Refusal::Question | Refusal::Over => return None,
        Refusal::Malformed => "dropped_splice_malformed",
        Refusal::HopLimit => "dropped_splice_hop_limit",
        Refusal::TooBig => "dropped_splice_too_big",
        Refusal::PartialChecksum => "dropped_splice_partial",
        Refusal::BadChecksum => "dropped_splice_checksum",
        Refusal::Syn => "dropped_splice_syn",
        Refusal::NoAck => "dropped_splice_no_ack",
        Refusal::Sequence => "dropped_splice_sequence",
        Refusal::Acknowledgment => "dropped_splice_ack",
        Refusal::Reset => "dropped_splice_reset",
        other => panic!("{other:?} is not counted"),
    })
}
