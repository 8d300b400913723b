//! What whoever looks has chosen: which screen, in which order, and whether it stands still. No terminal is needed to say what a key does.

/// A screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Screen {
    /// Traffic, workers, and the connections that are worth a look.
    #[default]
    Overview,
    /// Connections.
    Connections,
    /// Listeners, handshakes and cookies.
    Defence,
    /// What is refused, and why.
    Drops,
}

impl Screen {
    /// All of them, as they are numbered.
    pub const ALL: [Self; 4] = [Self::Overview, Self::Connections, Self::Defence, Self::Drops];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Connections => "connections",
            Self::Defence => "defence",
            Self::Drops => "drops",
        }
    }

    fn after(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// Which connections come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that carry most.
    #[default]
    Busiest,
    /// Those that lose most, or are held back.
    Unhappiest,
    /// Those with the longest round trips.
    RoundTrip,
    /// Those with most in their queues.
    Queue,
}

impl Order {
    const ALL: [Self; 4] = [Self::Busiest, Self::Unhappiest, Self::RoundTrip, Self::Queue];

    /// Its name, behind "by".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busiest => "traffic",
            Self::Unhappiest => "trouble",
            Self::RoundTrip => "round trip",
            Self::Queue => "queue",
        }
    }

    fn after(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Character(char),
    /// The tabulator.
    Tab,
    /// What leaves a page.
    Escape,
    /// Ctrl-C, which a terminal in raw mode hands on as a key.
    Interrupt,
}

/// What has been chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The screen.
    pub screen: Screen,
    /// Which connections come first.
    pub order: Order,
    /// Whether it stands still.
    pub is_paused: bool,
    /// Whether the keys are explained.
    pub has_help: bool,
}

impl View {
    /// Does what a key says. Whether to go on.
    pub fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Interrupt | Key::Character('q') => return false,
            Key::Escape if self.has_help => self.has_help = false,
            Key::Escape => {}
            Key::Tab => self.turn_to(self.screen.after()),
            Key::Character('p' | ' ') => self.is_paused = !self.is_paused,
            Key::Character('s') => self.order = self.order.after(),
            Key::Character('?' | 'h') => self.has_help = !self.has_help,
            Key::Character(digit @ '1'..='4') => {
                let number = digit.to_digit(10).unwrap_or(1) as usize;
                self.turn_to(Screen::ALL[number - 1]);
            }
            Key::Character(_) => {}
        }
        true
    }

    fn turn_to(&mut self, screen: Screen) {
        self.screen = screen;
        self.has_help = false;
    }
}
