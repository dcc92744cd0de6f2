/// How far a projection has folded the log. Statements that read a projection's tables ask it in
/// the same snapshot.
package enum ProjectionPosition {
    /// Returns one row with the position of the projection that `$1` names; 0 if no projector has
    /// registered it.
    package static let sql = "SELECT coalesce((SELECT position FROM projections WHERE name = $1), 0) AS position"
}
