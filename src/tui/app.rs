//! The whole state of the screen, and what can change it.
//!
//! ```text
//!  keys, mouse, size ─┐
//!  what was told ─────┼─> update(&mut App, Input) -> Option<Action> ─> the event loop acts
//!  the clock ─────────┘        draw(&App, &mut Frame)
//! ```
//! Both are plain functions: no terminal, no cluster, no clock. Time comes in as [`Input::Clock`].

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::history_view::HistoryView;
use super::keys::Screen;
use super::picker::Picker;
use super::replay::Replay;
use super::theme::Theme;
use crate::fault::{By, Fault, Impossible, Lacks, NodeId, NodeSelector, Role, Roles};
use crate::journal::{Entry, Event};
use crate::journal::{RunView, not_done};
use crate::run::Command;

/// How long a flash stays.
const FLASH_NS: u64 = 5_000_000_000;

/// How long one cell of the timeline may be: the steps of `+` and `-`.
pub const CELL_STEPS_NS: &[u64] = &[
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
];

/// What can wake the screen. There is nothing else.
#[derive(Clone, Debug)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The terminal's size: columns, rows.
    Size(u16, u16),
    /// The run says something.
    Entry(Entry),
    /// Nanoseconds since the session began, on a monotonic clock.
    Clock(u64),
    /// How many facts the run could not tell because the screen fell behind.
    Behind(u64),
    /// The newest lines of a node's log, oldest first.
    Log(NodeId, Vec<String>),
    /// The run that was asked for starts now: forget the one before.
    NewRun,
    /// Something to say to the person.
    Say(String),
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send these to the run, in order.
    Send(Vec<Command>),
    /// End the run and leave.
    Leave,
    /// Leave the screen and stop, until the shell continues us.
    Suspend,
    /// Put this on the terminal's clipboard.
    Copy(String),
    /// Read the end of a node's log.
    ReadLog(NodeId),
    /// End this run and start another.
    Start(super::picker::Pick),
}

/// The panels of the Live screen, in the order of tab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panel {
    /// Nodes and links.
    #[default]
    Cluster,
    /// Active faults.
    Faults,
    /// The timeline.
    Operations,
    /// What happened.
    Events,
}

impl Panel {
    /// All, in the order of tab.
    pub const ALL: [Panel; 4] = [
        Panel::Cluster,
        Panel::Faults,
        Panel::Operations,
        Panel::Events,
    ];
}

/// What lies over the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// All keys; scrolled by so many lines.
    Help(u16),
    /// Leave a live run?
    Leave,
    /// What shall go wrong? The selected row.
    Faults(usize),
    /// A node's card; whether its log has the whole of it; scrolled back by so many lines.
    Card {
        /// Which node.
        node: NodeId,
        /// Its log, on the whole screen.
        log: bool,
        /// Lines from the end.
        back: usize,
    },
    /// Which scenario?
    Picker,
}

/// What is being selected on the Verdict screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerdictView {
    /// The key table is shown although there is a counterexample.
    pub table: bool,
    /// Row of the key table.
    pub row: usize,
    /// Which operation of the counterexample.
    pub operation: usize,
    /// Do not number the operations by the order found.
    pub hide_order: bool,
    /// Show the key's other operations around it.
    pub all: bool,
}

/// The whole state of the screen.
#[derive(Clone, Debug)]
pub struct App {
    /// Colours and glyphs.
    pub theme: Theme,
    /// What is known of the run.
    pub picture: RunView,
    /// The instant that the screen shows, on the recorder's clock.
    pub now_ns: u64,
    /// The session's clock.
    pub clock_ns: u64,
    /// The recorder's clock minus the session's, as last heard.
    anchor: Option<(u64, u64)>,
    /// Columns, rows.
    pub size: (u16, u16),
    /// Which screen.
    pub screen: Screen,
    /// Which panel of the Live screen has the arrows.
    pub focus: Panel,
    /// The focused panel has the whole screen.
    pub zoomed: bool,
    /// Row of the selected node.
    pub node: usize,
    /// Column of the selected link, when one is selected.
    pub link: Option<usize>,
    /// Row of the selected fault.
    pub fault: usize,
    /// Row of the selected lane.
    pub lane: usize,
    /// Nanoseconds a cell of the timeline, as chosen by `+` and `-`.
    pub cell_ns: Option<u64>,
    /// Nanoseconds a cell, as the median operation suggests.
    pub auto_cell_ns: u64,
    /// The picture was stopped to be looked at closely: it shows single operations until it goes on.
    pub near: bool,
    /// Tallies a column of the charts, as chosen by `+` and `-`.
    pub chart_step: Option<u64>,
    /// Where the window of the timeline ends, when it was scrolled back.
    pub end_ns: Option<u64>,
    /// How many lines the Events panel is scrolled back.
    pub events_back: usize,
    /// The Events panel's filter.
    pub filter: String,
    /// A filter is being typed.
    pub typing: bool,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// What has happened since the screen was frozen; `None` while it is not.
    pub frozen: Option<VecDeque<Entry>>,
    /// How the run stands while the screen is frozen: commands go by this, not by what is still shown.
    ahead: Option<Box<RunView>>,
    /// The alarm that is known was seen, and its culprit selected.
    alarm_seen: bool,
    /// How many facts were lost because the screen fell behind.
    pub behind: u64,
    /// What just happened, or why a key did nothing; and until when.
    pub flash: Option<(String, u64)>,
    /// The end of each node's log that was read last.
    pub log: (NodeId, Vec<String>),
    /// The History screen.
    pub history: HistoryView,
    /// The Verdict screen.
    pub verdict: VerdictView,
    /// The scenario picker.
    pub picker: Picker,
    /// What the target lacks: it is not offered.
    pub lacks: Lacks,
    /// Set when this is a replay.
    pub replay: Option<Replay>,
    /// Somebody is shown around: what happens is said in a sentence, and a violation opens its own screen.
    pub tour: bool,
    /// The person has asked to leave, and the run is ending.
    pub leaving: bool,
    zoom_checked_ns: u64,
}

impl App {
    /// A screen that knows nothing yet.
    #[must_use]
    pub fn new(theme: Theme) -> Self {
        App {
            theme,
            picture: RunView::default(),
            now_ns: 0,
            clock_ns: 0,
            anchor: None,
            size: (80, 24),
            screen: Screen::Live,
            focus: Panel::Cluster,
            zoomed: false,
            node: 0,
            link: None,
            fault: 0,
            lane: 0,
            cell_ns: None,
            auto_cell_ns: 5_000_000,
            near: false,
            chart_step: None,
            end_ns: None,
            events_back: 0,
            filter: String::new(),
            typing: false,
            overlay: None,
            frozen: None,
            ahead: None,
            alarm_seen: false,
            behind: 0,
            flash: None,
            log: (0, Vec::new()),
            history: HistoryView::default(),
            verdict: VerdictView::default(),
            picker: Picker::default(),
            lacks: Lacks::default(),
            replay: None,
            tour: false,
            leaving: false,
            zoom_checked_ns: 0,
        }
    }

    /// A screen over a finished run: everything that happened, in its order.
    #[must_use]
    pub fn replaying(theme: Theme, entries: Vec<Entry>) -> Self {
        let mut app = App::new(theme);
        app.replay = Some(Replay::new(entries));
        app
    }

    /// Says something to the person.
    pub fn flash(&mut self, text: impl Into<String>) {
        self.flash = Some((text.into(), self.clock_ns + FLASH_NS));
    }

    /// The flash, while it is to be seen.
    #[must_use]
    pub fn flashing(&self) -> Option<&str> {
        self.flash
            .as_ref()
            .filter(|(_, until)| *until > self.clock_ns)
            .map(|(text, _)| text.as_str())
    }

    /// Takes what the run says. While the screen is frozen it is kept for later, but an alarm is seen at once.
    pub(super) fn take(&mut self, entry: Entry) {
        let Entry { time_ns, event } = &entry;
        if let Event::Alarm { counterexample } = event {
            self.picture.alarm(*time_ns, counterexample.clone());
            self.see_alarm();
        }
        if let Some(ahead) = &mut self.ahead
            && !matches!(event, Event::History(_))
        {
            ahead.take(entry.clone());
        }
        self.answer(event);
        match &mut self.frozen {
            Some(backlog) => backlog.push_back(entry),
            None => self.picture.take(entry),
        }
    }

    /// Says at once what was not done of what a person asked for: the last line has said that it is asked for.
    fn answer(&mut self, event: &Event) {
        match event {
            Event::FaultSkipped { fault, by, why } if *by == By::You => {
                self.flash(not_done(fault, *by, why));
            }
            Event::FaultUnresolved { fault, by, why } if *by == By::You => {
                self.flash(not_done(fault, *by, why));
            }
            Event::FaultIndeterminate {
                id: None,
                fault,
                by: By::You,
                why,
            } => self.flash(format!("nobody knows whether {fault} will be in: {why}")),
            _ => {}
        }
    }

    /// How the run stands now, as far as commands go: also while the screen is frozen.
    #[must_use]
    pub fn present(&self) -> &RunView {
        self.ahead.as_deref().unwrap_or(&self.picture)
    }

    /// A violation that was not there before: its culprit is selected, and its lane is in sight.
    fn see_alarm(&mut self) {
        let known = std::mem::replace(&mut self.alarm_seen, self.picture.alarm.is_some());
        let Some(found) = self.picture.alarm.as_ref().filter(|_| !known) else {
            return;
        };
        let culprit = found
            .operations
            .iter()
            .position(|op| op.id == found.culprit);
        let client = found.culprit().map(|op| op.client);
        self.verdict = VerdictView {
            operation: culprit.unwrap_or(0),
            ..VerdictView::default()
        };
        let lanes = super::draw::lanes(self);
        let lane = lanes.iter().position(|lane| Some(*lane) == client);
        self.lane = lane.unwrap_or(self.lane);
        if self.tour {
            self.screen = Screen::Verdict;
        } else if self.replay.is_none() {
            self.flash("a violation: 3 shows the operations that prove it");
        }
    }

    /// Moves the clock.
    pub(super) fn clock(&mut self, clock_ns: u64) {
        let passed_ns = clock_ns.saturating_sub(self.clock_ns);
        self.clock_ns = clock_ns;
        if self.replay.is_some() {
            self.replay_for(passed_ns);
        } else if self.frozen.is_none() {
            self.now_ns = self.live_now();
        }
        if self.clock_ns.saturating_sub(self.zoom_checked_ns) >= 1_000_000_000
            || self.zoom_checked_ns == 0
        {
            self.zoom_checked_ns = self.clock_ns;
            self.fit_median();
        }
        self.history.refresh(
            &self.picture.operations,
            self.clock_ns,
            self.screen == Screen::History,
        );
    }

    /// The recorder's clock now: as last heard, plus what has passed since. An ended run's clock stands.
    fn live_now(&mut self) -> u64 {
        let heard = self.picture.time_ns;
        if heard == 0 || !self.picture.is_live() {
            return heard;
        }
        let (then, at) = *self.anchor.get_or_insert((heard, self.clock_ns));
        let expected = then + self.clock_ns.saturating_sub(at);
        if heard > expected {
            self.anchor = Some((heard, self.clock_ns));
        }
        expected.max(heard)
    }

    /// The node that a role means now.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn resolved(&self, fault: &Fault<Role>) -> Result<Fault, Impossible> {
        fault.resolve(Roles {
            nodes: &self.present().ids(),
            leader: self.present().leader(),
            newcomer: None,
        })
    }

    /// What a node is now beside the leader: the leader, its k-th follower, or only itself where nobody leads.
    pub(super) fn role_of(&self, node: NodeId) -> NodeSelector {
        let ids = self.present().ids();
        let Some(leader) = self
            .present()
            .leader()
            .filter(|leader| ids.contains(leader))
        else {
            return NodeSelector::Node(node);
        };
        let after = ids.iter().filter(|&&id| id > leader);
        let mut followers = after.chain(ids.iter().filter(|&&id| id < leader));
        match followers.position(|&id| id == node) {
            Some(k) => NodeSelector::Follower(k),
            None if node == leader => NodeSelector::Leader,
            None => NodeSelector::Node(node),
        }
    }

    /// Stops the picture, to be looked at closely.
    pub(super) fn freeze(&mut self) {
        self.stop();
        self.near = true;
    }

    /// Stops the picture as it is.
    pub(super) fn stop(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.playing = false;
        } else if self.frozen.is_none() && self.picture.is_live() {
            self.frozen = Some(VecDeque::new());
            self.ahead = Some(Box::new(self.picture.bare()));
        }
    }

    /// Lets the picture go on, with everything that happened meanwhile.
    pub(super) fn thaw(&mut self) {
        self.end_ns = None;
        self.near = false;
        if let Some(replay) = &mut self.replay {
            replay.playing = true;
        }
        self.ahead = None;
        for entry in self.frozen.take().into_iter().flatten() {
            self.picture.take(entry);
        }
        if self.replay.is_none() {
            self.now_ns = self.live_now();
        }
    }

    fn replay_for(&mut self, passed_ns: u64) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        if replay.playing {
            replay.advance(passed_ns, &mut self.picture);
            self.now_ns = replay.at_ns;
            self.see_alarm();
        }
    }

    /// Shows another instant of a replay.
    pub(super) fn seek(&mut self, to_ns: u64) {
        let Some(replay) = &mut self.replay else {
            return;
        };
        replay.seek(to_ns, &mut self.picture);
        self.now_ns = replay.at_ns;
        self.history.forget();
        self.see_alarm();
    }

    /// Forgets the run before.
    pub(super) fn new_run(&mut self) {
        let (theme, size, clock_ns) = (self.theme, self.size, self.clock_ns);
        let picker = std::mem::take(&mut self.picker);
        let lacks = std::mem::take(&mut self.lacks);
        let tour = self.tour;
        *self = App {
            size,
            clock_ns,
            picker,
            lacks,
            tour,
            ..App::new(theme)
        };
    }

    /// Whether the bench behind the screen can be told anything.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.replay.is_none() && self.present().is_live()
    }

    /// The selected node, when there is one.
    #[must_use]
    pub fn selected_node(&self) -> Option<NodeId> {
        let ids = self.picture.ids();
        ids.get(self.node.min(ids.len().saturating_sub(1))).copied()
    }

    /// The selected link, when one is selected.
    #[must_use]
    pub fn selected_link(&self) -> Option<(NodeId, NodeId)> {
        let from = self.selected_node()?;
        let to = *self.picture.ids().get(self.link?)?;
        (from != to).then_some((from, to))
    }
}
