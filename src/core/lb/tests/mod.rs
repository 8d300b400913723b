//! Conversations with the tables, and worlds that try to make them break a flow.

mod churn;
mod conversations;
mod fixture;
mod handshakes;
mod health;
mod nat;
mod placement;
mod plans;
mod proxied;
mod rows;
