//! What AWS answers, written from its public API documentation:
//! <https://docs.aws.amazon.com/secretsmanager/latest/apireference/>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/>,
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/>.
