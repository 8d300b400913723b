//! Slots that keep their index, with a limit.

/// Values at stable indices. A freed slot is used again first, so that a busy stack stays in few cache lines.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    first_free: Option<u32>,
    len: u32,
    limit: u32,
    /// Most indices that may be [vacated](Slab::vacate) beyond the limit.
    slack: u32,
}

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// Empty, but not to be used again yet.
    Vacated,
    Free {
        next: Option<u32>,
    },
}

impl<T> Slab<T> {
    /// An empty slab for at most `limit` values. The room is reserved at once; the kernel backs it when it is touched.
    pub fn new(limit: u32) -> Self {
        Self::with_slack(limit, 0)
    }

    /// An empty slab for at most `limit` values, which has room for them while so many indices more are [vacated](Slab::vacate).
    pub fn with_slack(limit: u32, slack: u32) -> Self {
        let slots = Vec::with_capacity(limit as usize + slack as usize);
        Self { slots, first_free: None, len: 0, limit, slack }
    }

    /// Values in the slab.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether not one more value fits.
    pub fn is_full(&self) -> bool {
        self.len == self.limit
    }

    /// Whether every index that is not in use is [vacated](Slab::vacate).
    pub fn is_out_of_places(&self) -> bool {
        self.first_free.is_none() && self.slots.len() as u64 >= u64::from(self.limit) + u64::from(self.slack)
    }

    /// The index that the next insertion will use.
    fn next_index(&self) -> u32 {
        self.first_free.unwrap_or(self.slots.len() as u32)
    }

    /// Puts a value into a free slot; the value comes back where there is none.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        if self.is_full() || self.is_out_of_places() {
            return Err(value);
        }
        let index = self.next_index();
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                let Slot::Free { next } = *slot else { unreachable!("the free list holds free slots only") };
                self.first_free = next;
                *slot = Slot::Taken(value);
            }
            None => self.slots.push(Slot::Taken(value)),
        }
        self.len += 1;
        Ok(index)
    }

    /// Where the value at `index` is, or would be: to be prefetched, not to be looked at.
    pub fn place(&self, index: u32) -> Option<&impl Sized> {
        self.slots.get(index as usize)
    }

    /// The value at `index`.
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.slots.get(index as usize) {
            Some(Slot::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// The value at `index`, to be changed.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slots.get_mut(index as usize) {
            Some(Slot::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes the value out of `index`.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| matches!(slot, Slot::Taken(_)))?;
        let Slot::Taken(value) = std::mem::replace(slot, Slot::Free { next: self.first_free }) else {
            unreachable!("a taken slot was just asked for")
        };
        self.first_free = Some(index);
        self.len -= 1;
        Some(value)
    }

    /// Takes the value out of `index`, which is not used again before [`Slab::release`].
    pub fn vacate(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| matches!(slot, Slot::Taken(_)))?;
        let Slot::Taken(value) = std::mem::replace(slot, Slot::Vacated) else {
            unreachable!("a taken slot was just asked for")
        };
        self.len -= 1;
        Some(value)
    }

    /// Lets a vacated index be used again.
    pub fn release(&mut self, index: u32) {
        if let Some(slot @ Slot::Vacated) = self.slots.get_mut(index as usize) {
            *slot = Slot::Free { next: self.first_free };
            self.first_free = Some(index);
        }
    }

    /// Two different values, both to be changed.
    pub fn get_two_mut(&mut self, first: u32, second: u32) -> Option<(&mut T, &mut T)> {
        match self.slots.get_disjoint_mut([first as usize, second as usize]) {
            Ok([Slot::Taken(first), Slot::Taken(second)]) => Some((first, second)),
            _ => None,
        }
    }

    /// Empties `index`, where that is taken: as [`Slab::remove`], but the value is not moved before it goes.
    pub fn discard(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize)
            && matches!(slot, Slot::Taken(_))
        {
            *slot = Slot::Free { next: self.first_free };
            self.first_free = Some(index);
            self.len -= 1;
        }
    }

    /// The indices that were ever in use are below this.
    pub fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The indices in use, in ascending order.
    pub fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.slots.len() as u32).filter(|&index| self.get(index).is_some())
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("an index held by the flow table is taken")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("an index held by the flow table is taken")
    }
}
