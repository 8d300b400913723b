//! Stamping in user space, for where the kernel cannot: what `bpf/flood.bpf.c` does, number for number.

use crate::{
    bpf::{FloodPlan, FloodTemplate},
    rng::splitmix64,
    wire::checksum::Checksum,
};

const ETHERNET_LEN: usize = 14;
const LOWEST_PORT: u64 = 1_024;
const PORTS: u64 = 65_536 - LOWEST_PORT;
/// The increment of SplitMix64.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Makes a plan's frames one after the other.
pub(super) struct Stamper<'a> {
    plan: &'a FloodPlan,
    random: u64,
    made: u64,
}

impl<'a> Stamper<'a> {
    pub fn new(plan: &'a FloodPlan) -> Self {
        Self { plan, random: plan.seed, made: 0 }
    }

    /// Writes the next frame and returns its length.
    ///
    /// # Panics
    /// Where `buffer` is shorter than the plan's longest template.
    pub fn next(&mut self, buffer: &mut [u8]) -> usize {
        let template = &self.plan.templates[(self.made % self.plan.templates.len() as u64) as usize];
        self.made += 1;
        let frame = &mut buffer[..template.frame.len()];
        frame.copy_from_slice(&template.frame);
        self.stamp(template, frame);
        frame.len()
    }

    fn random(&mut self) -> u64 {
        let number = splitmix64(self.random);
        self.random = self.random.wrapping_add(GAMMA);
        number
    }

    fn stamp(&mut self, template: &FloodTemplate, frame: &mut [u8]) {
        let (first, second) = (self.random(), self.random());
        let Some(sum) = self.stamp_source(template, frame, first) else { return };
        let tcp_offset = template.tcp_offset as usize;
        if tcp_offset == 0 {
            return;
        }
        let port = match self.plan.source_port {
            0 => (LOWEST_PORT + (((first >> 32 & 0xffff) * PORTS) >> 16)) as u16,
            port => port,
        };
        let tcp = &mut frame[tcp_offset..];
        tcp[..2].copy_from_slice(&port.to_be_bytes());
        let mut sum = sum.with(&(template.tcp_sum as u16).to_ne_bytes()).with(&port.to_be_bytes());
        let mut write = |at: usize, number: u32| {
            tcp[at..at + 4].copy_from_slice(&number.to_ne_bytes());
            sum = sum.with(&number.to_ne_bytes());
        };
        write(4, second as u32);
        if template.random_ack {
            write(8, (second >> 32) as u32);
        }
        if template.timestamp_offset > 0 {
            write(template.timestamp_offset as usize - tcp_offset, (first >> 32) as u32);
        }
        tcp[16..18].copy_from_slice(&sum.field());
    }

    /// The sum of the source address, once it is written; none where the frame is too short for it.
    fn stamp_source(&mut self, template: &FloodTemplate, frame: &mut [u8], random: u64) -> Option<Checksum> {
        let sources = &self.plan.sources;
        let source = sources[if sources.len() > 1 { (random >> 48) as usize % sources.len() } else { 0 }];
        let draw = |at: usize, random: [u8; 4]| -> [u8; 4] {
            std::array::from_fn(|i| source.base[at + i] | random[i] & source.mask[at + i])
        };
        let mut sum = Checksum::default();
        if template.is_ipv6 {
            let (high, low) = (self.random(), self.random());
            let address = frame.get_mut(ETHERNET_LEN + 8..ETHERNET_LEN + 40)?;
            for (index, word) in [high, high >> 32, low, low >> 32].into_iter().enumerate() {
                let word = draw(4 * index, (word as u32).to_ne_bytes());
                address[4 * index..][..4].copy_from_slice(&word);
                sum = sum.with(&word);
            }
        } else {
            let word = draw(12, (random as u32).to_ne_bytes());
            let ip = frame.get_mut(ETHERNET_LEN..ETHERNET_LEN + 20)?;
            ip[12..16].copy_from_slice(&word);
            let checksum = Checksum::of(&(template.ip_sum as u16).to_ne_bytes()).with(&word);
            ip[10..12].copy_from_slice(&checksum.field());
            sum = sum.with(&word);
        }
        Some(sum)
    }
}
