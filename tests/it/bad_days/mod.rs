//! Bad input and bad days: what people, machines and other controllers get wrong, and what must hold all the same.

mod crowded;
mod edited;
mod etcd;
mod explained;
mod killed;
mod kit;
mod kubectl;
mod malformed;
mod missing;
mod observed;
mod process;
mod prometheus;
mod retained;
mod tls;
mod verbs;
