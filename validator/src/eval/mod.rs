//! The three-valued evaluator: what an expression means, as far as that can be known without a plan.
