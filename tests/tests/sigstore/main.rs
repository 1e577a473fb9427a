// SPDX-License-Identifier: Apache-2.0
//! sigstore's signatures in policies. Keys and signatures are openssl's, laid out as cosign's specification says; a skopeo that
//! knows them (1.13 on; Debian's has it switched off) judges each decision, too, where CONEX_TEST_SKOPEO names one.
#![allow(clippy::unwrap_used, reason = "stories are told outside of the #[test] functions, too")]

mod copies;
mod policies;
mod roads;
mod scene;
mod signing;
