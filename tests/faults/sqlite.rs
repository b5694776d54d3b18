//! S1, S2, S4, S5, S8, M5, M16: one tenant's management never costs another tenant's requests.
