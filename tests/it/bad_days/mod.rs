//! Bad input and bad days: what people, machines and other controllers get wrong, and what must hold all the same.

mod edited;
mod killed;
mod kit;
mod missing;
mod prometheus;
mod retained;
mod tls;
