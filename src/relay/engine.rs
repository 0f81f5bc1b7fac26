//! The TURN server without sockets, clocks or randomness: datagrams and time in, outcomes and effects out.

pub mod five_tuple;
