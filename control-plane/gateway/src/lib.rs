//! Data plane: executes the engine's route table.
