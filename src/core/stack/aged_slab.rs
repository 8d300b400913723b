//! A slab whose values stand in line: the oldest is known, and makes room when it must.

use super::slab::Slab;

const NONE: u32 = u32::MAX;

/// A slab that remembers the order in which its values came.
#[derive(Debug)]
pub struct AgedSlab<T> {
    links: Slab<Link<T>>,
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
struct Link<T> {
    value: T,
    older: u32,
    newer: u32,
}

impl<T> AgedSlab<T> {
    /// An empty slab for at most `limit` values.
    pub fn new(limit: u32) -> Self {
        Self { links: Slab::new(limit), oldest: NONE, newest: NONE }
    }

    /// Values in the slab.
    pub fn len(&self) -> u32 {
        self.links.len()
    }

    /// Whether the next insertion needs the oldest value to go first.
    pub fn is_full(&self) -> bool {
        self.links.is_full()
    }

    /// The index of the oldest value.
    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds a value as the newest; it comes back where there is no room.
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        let older = self.newest;
        let index = self.links.insert(Link { value, older, newer: NONE }).map_err(|link| link.value)?;
        self.newest = index;
        match self.links.get_mut(older) {
            Some(link) => link.newer = index,
            None => self.oldest = index,
        }
        Ok(index)
    }

    /// The value at `index`.
    pub fn get(&self, index: u32) -> Option<&T> {
        self.links.get(index).map(|link| &link.value)
    }

    /// The indices that were ever in use are below this.
    pub fn places(&self) -> u32 {
        self.links.places()
    }

    /// The value at `index`, to be changed.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.links.get_mut(index).map(|link| &mut link.value)
    }

    /// Takes the value out of `index`.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        self.unlink(index)?;
        self.links.remove(index).map(|link| link.value)
    }

    /// All values with their indices, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let link = |index| self.links.get(index).map(|link| (index, link));
        let linked = std::iter::successors(link(self.oldest), move |(_, before)| link(before.newer));
        linked.map(|(index, link)| (index, &link.value))
    }

    /// Changes all values.
    pub fn for_each(&mut self, mut change: impl FnMut(&mut T)) {
        let mut next = self.oldest;
        while let Some(link) = self.links.get_mut(next) {
            change(&mut link.value);
            next = link.newer;
        }
    }

    /// Takes out the value at `index` that nobody wants any more: it is not moved.
    pub fn discard(&mut self, index: u32) {
        if self.unlink(index).is_some() {
            self.links.discard(index);
        }
    }

    fn unlink(&mut self, index: u32) -> Option<()> {
        let &Link { older, newer, .. } = self.links.get(index)?;
        match self.links.get_mut(older) {
            Some(link) => link.newer = newer,
            None => self.oldest = newer,
        }
        match self.links.get_mut(newer) {
            Some(link) => link.older = older,
            None => self.newest = older,
        }
        Some(())
    }
}

impl<T> std::ops::Index<u32> for AgedSlab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.links[index].value
    }
}
